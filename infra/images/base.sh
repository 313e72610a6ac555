#!/bin/sh
# Writes the file system of a base image to $1, as a tar: Debian with Python and certificates, for where no public registry can be reached.
# The same packages give the same bytes; SNAPSHOT (a snapshot.debian.org address) holds the packages still.
set -eu
# shellcheck disable=SC2016  # mmdebstrap expands $1 in its hooks
SOURCE_DATE_EPOCH=0 exec mmdebstrap \
    --variant=minbase \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include=usr-is-merged,python3,ca-certificates \
    --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' \
    --customize-hook='ln -s python3 "$1/usr/bin/python"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$1" ${SNAPSHOT:+"$SNAPSHOT"}
