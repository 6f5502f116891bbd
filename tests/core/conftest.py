"""The data of the core tests."""

from core_learners import digits

__all__ = ["digits"]
