"""The studies of `tenuto bench`: one file per study, found by listing this folder."""
