"""Debian's PostgreSQL in a domain: initdb there, the server, pgbench and psql from the host."""
import glob
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from conftest import librettos_on_each_path_if_long, run, wait_for  # noqa: F401

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
PACKAGE = f"postgresql-{PROGRAMS.split('/')[-2]}"
USER = "postgres"
OPTIONS = ("--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions")
SERVE = "-c listen_addresses='*' -c unix_socket_directories=/tmp"
ROWS = 100000  # of pgbench_accounts for each unit of scale


class Database:
    """The server in a domain, with its files in folder there; script comes before it."""

    def __init__(self, librettos, folder, *options, script="true"):
        self.librettos = librettos
        self.port = librettos.start(
            "db", "-m", "1G", "-c", 2, "-u", USER, "--package", PACKAGE, *options, "/bin/sh", "-c",
            f"{script} && echo host all all all trust >>{folder}/pg_hba.conf && "
            f"exec {PROGRAMS}/postgres -D {folder} {SERVE}", port=5432)
        wait_for(lambda: self.query("select 1", check=False) == "1\n", 60, "the database")

    def client(self, program, *args, **kw):
        return run(f"{PROGRAMS}/{program}", "-h", "127.0.0.1", "-p", self.port, "-U", USER, *args, **kw)

    def query(self, text, **kw):
        return self.client("psql", "-X", "-A", "-t", "-c", text, "postgres", timeout=60, **kw)

    def stop(self):
        self.librettos("stop", "db")
        assert "database system is shut down" in self.librettos("logs", "db").stdout

    def bench(self, *options):
        """Runs pgbench; returns the number of transactions, none of which failed."""
        text = self.client("pgbench", *options, "postgres", timeout=60)
        assert "number of failed transactions: 0 (" in text, text
        return int(re.search(r"actually processed: (\d+)", text).group(1))


@pytest.fixture
def volume(tmp_path):
    """A folder that user postgres may reach, with a cluster made on this machine."""
    path = tmp_path / "volume"
    path.mkdir()
    command = [f"{PROGRAMS}/initdb", "-D", path / "cluster", "-U", USER, *OPTIONS]
    if os.getuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if folder == Path(tempfile.gettempdir()):
                break
            folder.chmod(0o711)
        shutil.chown(path, USER, USER)
        command = ["runuser", "-u", USER, "--", *command]
    run(*command, cwd=path)
    return path


def test_pgbench_keeps_its_books(librettos_on_each_path_if_long, volume):  # noqa: F811
    """Each transaction adds the same to an account, a teller and a branch; after a restart too."""
    place = (librettos_on_each_path_if_long, "/data/cluster", "-v", f"{volume}:/data")
    database = Database(*place)
    database.client("pgbench", "-i", "-q", "postgres")
    done = database.bench("-c", 4, "-j", 2, "-t", 25)
    done += database.bench("-n", "-C", "-c", 2, "-t", 5)  # a connection for each transaction
    assert done == 110 and database.bench("-n", "-S", "-c", 8, "-t", 20) == 160
    sums = ", ".join(f"(select sum({what}) from pgbench_{where})" for what, where in (
        ("abalance", "accounts"), ("tbalance", "tellers"), ("bbalance", "branches"), ("delta", "history")))
    totals = f"select {sums}, (select count(*) from pgbench_history), (select count(*) from pgbench_accounts)"
    before = database.query(totals).strip().split("|")
    assert len(set(before[:4])) == 1 and before[4:] == [str(done), str(ROWS)]
    database.stop()
    database = Database(*place)
    assert database.query(totals).strip().split("|") == before


def test_parallel_workers_and_sorts_on_disk(librettos):
    """initdb in the domain; workers share memory made after their start; sorts spill to files."""
    database = Database(librettos, "/tmp/cluster",
                        script=f"{PROGRAMS}/initdb -D /tmp/cluster {' '.join(OPTIONS)}")
    assert database.query("create table t as select i, md5(i::text) as h from generate_series(1, 60000) i"
                          ) == "SELECT 60000\n"
    database.query("analyze t")
    settings = ("set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;"
                "set work_mem = '64kB'; ")
    count = "select count(distinct h), min(h), max(h) from t where i % 3 = 0"
    assert "Workers Launched: 2" in database.query(
        settings + "explain (analyze, timing off) select count(*) from t where h like '%ff%'")
    assert "external merge" in database.query(
        settings + "explain (analyze, timing off) select h from t order by h")
    assert database.query(settings + count).splitlines()[-1].startswith("20000|")


def test_one_query_is_cancelled_one_backend_ended(librettos, volume):
    database = Database(librettos, "/data/cluster", "-v", f"{volume}:/data")
    text = database.query("set statement_timeout = 300; select pg_sleep(60)", check=False)
    assert "canceling statement due to statement timeout" in text
    assert "terminating connection due to administrator command" in database.query(
        "select pg_terminate_backend(pg_backend_pid())", check=False)
    assert database.query("select count(*) from pg_stat_activity where query like '%pg_sleep(60)%'"
                          " and pid <> pg_backend_pid()") == "0\n"
