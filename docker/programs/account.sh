#!/usr/bin/env bash
# The account that the image runs as, and the kit's two programs, under /rootfs. Not `useradd`: it writes dates.
set -euo pipefail
install -D /etc/passwd /rootfs/etc/passwd
echo 'heteropd:x:10001:10001::/home/heteropd:/usr/sbin/nologin' >> /rootfs/etc/passwd
install -d -m 755 /rootfs/home
install -d -m 1777 -o 10001 -g 10001 /rootfs/home/heteropd  # anybody's: the runtime may choose another user
install -D -m 755 -t /rootfs/usr/local/bin /programs/heteropd-inventory /programs/heteropd-health
find /rootfs -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
chmod 644 /rootfs/etc/passwd
