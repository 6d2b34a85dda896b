"""Tests; they mirror the tree and talk to the real parts."""
