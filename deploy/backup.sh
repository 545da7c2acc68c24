#!/bin/sh
# Make a backup, and delete old ones: backup.sh full|incremental
#
# DATALOADER_TARGET    a target from the target file (DATALOADER_CONFIG); or leave it unset, and set COUCHDB_URL and
#                      DATALOADER_OPTIONS
# DATALOADER_OPTIONS   other options for `dataloader backup`, such as --model and --environment
# BACKUP_DIR           the folder for the backups of this target only
# BACKUP_PASSWORD_FILE the file with the password that encrypts them (optional)
set -eu
kind=${1:-incremental}
dir=${BACKUP_DIR:?the folder for backups}
mkdir -p -m 700 "$dir"
set --
[ -z "${BACKUP_PASSWORD_FILE:-}" ] || set -- --password-file "$BACKUP_PASSWORD_FILE"

newest=""
if [ "$kind" = incremental ]; then
    # 9: some backups cannot be read or restored; they are never continued.
    status=0
    listed=$(dataloader backups list "$dir" "$@" --json) || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 9 ] || exit "$status"
    newest=$(printf '%s' "$listed" | python3 -c '
import json, sys
files = [each["file"] for each in json.load(sys.stdin)["backups"] if each["restorable"]]
print(files[-1] if files else "")')
fi
back_up() {
    # shellcheck disable=SC2086 # several options
    dataloader backup "$dir" "$@" ${DATALOADER_TARGET:+--target "$DATALOADER_TARGET"} ${DATALOADER_OPTIONS:-}
}
status=0
back_up "$@" ${newest:+--since "$newest"} || status=$?
if [ "$status" -eq 3 ] && [ -n "$newest" ]; then
    # The databases were recreated since the newest backup, for example by a restore: make a full one.
    status=0
    back_up "$@" || status=$?
fi
# 11: the backup may lack changes that only a node that is down has. Keep the old ones.
[ "$status" -eq 0 ] || exit "$status"
dataloader backups prune "$dir" "$@" --keep-hourly 24 --keep-daily 7 --keep-weekly 8
