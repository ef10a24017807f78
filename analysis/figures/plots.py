"""The figures of a search, in the order of the report. To add one, write a module and add it here."""

from analysis.figures import (
    best_so_far,
    budget,
    confusion,
    contour,
    data_size,
    fronts,
    gradient_norms,
    importance,
    learning_curves,
    memory,
    parallel_coordinates,
    pruning,
    reliability,
    score_against_cost,
    score_by_hyperparameter,
    spread_over_seeds,
    text_lengths,
    variance,
    why,
)

PLOTS = {
    module.PLOT.name: module.PLOT
    for module in (
        learning_curves,
        gradient_norms,
        confusion,
        best_so_far,
        budget,
        score_by_hyperparameter,
        parallel_coordinates,
        importance,
        why,
        contour,
        fronts,
        score_against_cost,
        pruning,
        spread_over_seeds,
        variance,
        data_size,
        memory,
        reliability,
        text_lengths,
    )
}
