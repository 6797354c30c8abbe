"""Programs that live from processes: terminals of their own, System V IPC, a data base server on it."""
import shutil

import pytest

POSTGRES = "/usr/lib/postgresql/15/bin"


def bash(librettos, script, *packages):
    """What a shell in a domain wrote."""
    options = [o for p in ("util-linux", "coreutils", *packages) for o in ("--package", p)]
    return librettos("run", *options, "bash", "-c", script, timeout=200).stdout


def test_a_program_gets_a_terminal_from_script(librettos):
    out = bash(librettos, "tty; script -qc 'tty; test -t 0 && echo yes; stty size' /dev/null </dev/null; "
                          "ls /dev/pts | wc -l", "bsdutils")
    lines = out.replace("\r", "").split("\n")
    assert lines[0] == "not a tty"
    assert lines[1:3] == ["/dev/pts/0", "yes"]
    assert lines[-2] == "0"  # it is gone with script


def test_ipcs_lists_what_ipcmk_made(librettos):
    out = bash(librettos, "ipcmk -M 12345 >/dev/null; ipcmk -S 7 >/dev/null; ipcmk -Q >/dev/null; ipcs; "
                          "ipcrm --all; echo after; ipcs")
    before, after = out.split("after")
    assert " 12345 " in before and " 7 " in before
    assert before.count(" root ") == 3 and " root " not in after


@pytest.mark.skipif(not shutil.which("psql", path=POSTGRES), reason="PostgreSQL 15 is not installed")
def test_postgresql_runs_on_system_v_shared_memory(librettos):
    out = bash(librettos, f"""
        mkdir /tmp/pg && chown postgres /tmp/pg
        cat >/tmp/run.sh <<'END'
        set -e
        {POSTGRES}/initdb -N -D /tmp/pg >/dev/null
        {POSTGRES}/pg_ctl -D /tmp/pg -l /tmp/pg/log -w start >/dev/null -o \
            "-k /tmp -c shared_memory_type=sysv -c dynamic_shared_memory_type=sysv"
        ipcs -m | grep -c postgres
        {POSTGRES}/psql -qAt -h /tmp postgres -c "create table t as select generate_series(1, 1000) n" \
            -c "select sum(n) from t"
        {POSTGRES}/pg_ctl -D /tmp/pg -m fast -w stop >/dev/null
        ipcs -m | grep -c postgres || true
END
        setpriv --reuid=postgres --regid=postgres --clear-groups bash /tmp/run.sh""",
               "postgresql-15", "postgresql-client-15")
    segments, total, left = out.split()
    assert int(segments) >= 2 and total == "500500" and left == "0"
