#!/bin/sh
# Makes Temporal's two databases in PostgreSQL, or brings their schemas up to date; may be repeated.
# SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD say where, as temporal-sql-tool reads them.
set -eu

up_to_date() { # DATABASE SCHEMA
  temporal-sql-tool --database "$1" create-database
  temporal-sql-tool --database "$1" setup-schema --version 0.0
  temporal-sql-tool --database "$1" update-schema --schema-name "postgresql/v12/$2"
}

up_to_date "${TEMPORAL_DATABASE:-temporal}" temporal
up_to_date "${TEMPORAL_VISIBILITY_DATABASE:-temporal_visibility}" visibility
