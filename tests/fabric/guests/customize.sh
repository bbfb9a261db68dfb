#!/bin/sh
# Usage: customize.sh ROOT SITE MEND - what Debian's packages leave open in a guest. No key is in the image.
set -eu
root=$1 site=$2 fix=$3
here=$(dirname "$0")

install -m 755 "$here/init" "$root/sbin/lab-init"
rm -f "$root"/etc/ssh/ssh_host_*
printf '%s\n' 'UseDNS no' 'PasswordAuthentication no' 'AuthorizedKeysFile /run/lab/authorized_keys' 'HostKey /run/lab/host_key' \
    'PermitRootLogin prohibit-password' 'StrictModes no' 'MaxStartups 64' 'MaxSessions 64' > "$root/etc/ssh/sshd_config.d/lab.conf"
# Engines do not run as root, and root may lock memory beyond any limit.
chroot "$root" useradd --create-home --shell /bin/bash engine
# usermod's "no password" and not "locked", which sshd refuses.
chroot "$root" usermod --password '*' engine

prefix=$root/opt/heteropd
mkdir -p "$prefix/bin" "$prefix/lib/python3.11" "$prefix/unmended"
cp -a "$site" "$prefix/lib/python3.11/site-packages"
chmod -R go+rX "$prefix"
printf '%s\n' 'home = /usr/bin' 'include-system-site-packages = false' 'version = 3.11' > "$prefix/pyvenv.cfg"
ln -s /usr/bin/python3 "$prefix/bin/python"
ln -s python "$prefix/bin/python3"
# What the wheel brought, so that a test can take the fix back.
cp -a "$prefix"/lib/python3.11/site-packages/nixl_cu12.libs/libibverbs-* "$prefix"/lib/python3.11/site-packages/nixl_cu12.libs/libmlx5-* \
    "$prefix/unmended"
install -D -m 755 "$fix" "$prefix/share/verbs.sh"
chroot "$root" bash /opt/heteropd/share/verbs.sh /opt/heteropd/lib/python3.11/site-packages
chroot "$root" python3 -m compileall -q /opt/heteropd/lib/python3.11/site-packages/nixl_cu12 \
    /opt/heteropd/lib/python3.11/site-packages/numpy || true
