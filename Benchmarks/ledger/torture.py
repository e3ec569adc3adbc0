"""Kills a writing process at N random moments (default 200) and looks at the ledger each time: whole, every acknowledged
metric there, no status that lies, the next run works. `python3 Benchmarks/ledger/torture.py [N]`."""

import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DRILL = next(p for p in (ROOT / ".build" / c / "ledger-drill" for c in ("release", "debug")) if p.exists())


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"{rounds} rounds, seed {seed}")
    root = Path(tempfile.mkdtemp(prefix="ledger-torture-"))
    path = root / ".study" / "ledger.sqlite"
    kept = 0
    for turn in range(rounds):
        writer = subprocess.Popen([DRILL, "acknowledged", root], stdout=subprocess.PIPE, text=True)
        time.sleep(chance.uniform(0.005, 0.3))
        writer.send_signal(signal.SIGKILL)
        lines = writer.stdout.read().split("\n")[:-1]  # what follows the last newline was cut off
        writer.wait()
        if not path.exists():
            continue
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), f"round {turn}: damaged"
        if lines:
            acknowledged = int(lines[-1]) if len(lines) > 1 else 0
            (count,) = db.execute(
                "SELECT count(*) FROM point p JOIN series s ON s.id = p.series JOIN run r ON r.number = s.run WHERE r.id = ?",
                (lines[0],),
            ).fetchone()
            assert count >= acknowledged, f"round {turn}: {acknowledged} acknowledged, {count} there"
            kept += acknowledged
            (sealed,) = db.execute(
                "SELECT count(*) FROM seal JOIN run ON run.number = seal.run WHERE run.id = ?", (lines[0],)
            ).fetchone()
            assert sealed == 0, f"round {turn}: a killed run has a seal"
        db.close()
    subprocess.run([DRILL, "metrics", root, "1000"], check=True, stdout=subprocess.DEVNULL)
    print(f"no damage, {kept} acknowledged metrics all there, the next run works")


main()
