from importlib import import_module

Migration = import_module("tests.fleet.migrations.v1.0001_initial").Migration
