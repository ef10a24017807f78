"""What a good user would write without this project, from the documentation of Ray Tune, Optuna and Syne Tune.

Plain torch throughout: the architectures are ours, to the number of parameters and the first weights, so that what is
compared is the system. Nothing here is used by the project.
"""
