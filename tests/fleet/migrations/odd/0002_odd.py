"""A migration that misbehaves as ODD says."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time

from django.db import migrations


def misbehave(apps, schema_editor):
    odd = os.environ["ODD"]
    if odd == "exits":
        sys.exit("no license")
    if odd == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if odd == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if odd == "starts processes":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]
    if odd == "reconnects":
        connection = schema_editor.connection
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO fleet_note (text) SELECT current_setting('lock_timeout') || ' ' || count(*) FROM pg_locks "
                "WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            )
    if odd == "reconnects late":
        connection = schema_editor.connection
        with connection.cursor() as cursor:  # What another run would record after the lock is released.
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('fleet', '0002_odd', now())")
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    if odd == "leaves a process":
        child = os.fork()
        if child == 0:
            time.sleep(300)
            os._exit(0)
        sys.stdout.write(f"child {child}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if odd == "prints":
        sys.stdout.write("first\nsecond \x1b[31mred\n")
        sys.stderr.write("to stderr\n")
        logging.getLogger("django").error("logged")
        sys.stdout.write("not UTF-8: \udcff\n")
        subprocess.run(["echo", "by a program"], check=True)
        subprocess.run(["echo", "by another"], check=True, stdout=sys.stdout)
        sys.stdout.write("without an end")
    if odd == "leaves an index":
        schema_editor.execute("INSERT INTO fleet_note (text) VALUES ('twice'), ('twice')")
        schema_editor.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON fleet_note (text)")
    if odd == "writes a terminal":
        raise ValueError("\x1b[31mred\x00\n" + "x" * 1_000_000)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("fleet", "0001_initial")]
    operations = [migrations.RunPython(misbehave)]
