"""Starts the Bytewax flow as its documentation does, with recovery, and says when it has ended."""

import os
import subprocess
import sys

folder = os.environ["FOLDER"]
os.makedirs(folder, exist_ok=True)
subprocess.run([sys.executable, "-m", "bytewax.recovery", folder, "1"], check=True)
flow = os.path.join(os.path.dirname(__file__), "bytewax_flow.py")
subprocess.run([sys.executable, "-m", "bytewax.run", f"{flow}:flow", "-r", folder, "-s", "10", "-b", "0"], check=True)
print("MARK end", flush=True)
