"""One update: weights, window, rule, method, learner."""
