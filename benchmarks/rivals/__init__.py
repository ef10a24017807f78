"""The programs that a good user would write without this project, from the documentation of Ray Tune, Optuna and Syne
Tune.

All are plain torch. The architectures have the same numbers of parameters and the same initial weights as ours, so that
only the systems differ. The project does not use this code.
"""
