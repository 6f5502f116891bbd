"""The models: one file each, a function of the rows' shape and the number of outputs."""
