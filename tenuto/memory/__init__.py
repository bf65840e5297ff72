"""Memory: a bounded table, a policy that inserts, a policy that samples."""

from tenuto.memory.buffer import ReplayBuffer
from tenuto.memory.ruled import RuledBuffer
from tenuto.memory.table import Table

__all__ = ["ReplayBuffer", "RuledBuffer", "Table"]
