#!/bin/sh
# Make a backup, and delete old ones: backup.sh full|incremental
#
# DATALOADER_TARGET    a target of the target file (DATALOADER_CONFIG), or unset with COUCHDB_URL and DATALOADER_OPTIONS
# DATALOADER_OPTIONS   more options of `dataloader backup`, such as --model and --environment
# BACKUP_DIR           the folder for backups
# BACKUP_PASSWORD_FILE the file with the password that encrypts them (optional)
set -eu
kind=${1:-incremental}
dir=${BACKUP_DIR:?the folder for backups}
set --
[ -z "${BACKUP_PASSWORD_FILE:-}" ] || set -- --password-file "$BACKUP_PASSWORD_FILE"

newest=""
if [ "$kind" = incremental ]; then
    newest=$(dataloader backups list "$dir" "$@" --json | python3 -c '
import json, sys
backups = json.load(sys.stdin)["backups"]
print(backups[-1]["file"] if backups else "")')
fi
# shellcheck disable=SC2086 # several options
dataloader backup "$dir" "$@" ${DATALOADER_TARGET:+--target "$DATALOADER_TARGET"} ${DATALOADER_OPTIONS:-} \
    ${newest:+--since "$newest"}
dataloader backups prune "$dir" "$@" --keep-hourly 24 --keep-daily 7 --keep-weekly 8
