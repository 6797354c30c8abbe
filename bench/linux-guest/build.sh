#!/bin/sh
# Makes the Linux guest of the comparison from Debian's cloud kernel: OUT/vmlinuz and OUT/base, a folder
# with busybox, the virtio modules and our init, to which a program's files are added for each run.
# Usage: build.sh OUT
set -eu
out=$1
here=$(dirname "$(readlink -f "$0")")
[ -e "$out/done" ] && exit 0
rm -rf "$out"
mkdir -p "$out/base/guest" "$out/base/bin"
cd "$out"
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
[ -n "$package" ] || { echo "linux-image-cloud-amd64 is unknown: run apt-get update" >&2; exit 1; }
apt-get -q -o APT::Sandbox::User=root download "$package"
dpkg -x "$package"_*.deb root
cp root/boot/vmlinuz-* vmlinuz
for module in drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_legacy_dev \
    drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci net/core/failover \
    drivers/net/net_failover drivers/net/virtio_net; do
    file=$(find root/lib/modules -path "*/kernel/$module.ko*" | head -n 1)
    [ -n "$file" ] || continue
    cp "$file" base/guest/
    basename "$file" >>base/guest/modules
done
cp /bin/busybox base/bin/busybox
cp "$here/init" base/init
touch done
