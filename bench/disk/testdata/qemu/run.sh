#!/bin/sh
# Boots a small guest with emulated drives (two NVMe, one of them failing, and three ATA) and runs the tests of this package that need
# them in it: what Kith reads of each drive must be what smartctl prints of it. With RECORD=1 what smartctl prints is kept as
# testdata/smart-qemu-*.json. Needs Debian's qemu-system-x86, smartmontools, busybox-static and cpio; the kernel is fetched, not
# installed. KERNEL=vmlinuz MODULES=/lib/modules/VERSION choose another one.
set -eu
cd "$(dirname "$0")/../.."
for tool in qemu-system-x86_64 smartctl busybox cpio; do
	command -v $tool >/dev/null || { echo "$tool is missing: apt-get install qemu-system-x86 smartmontools busybox-static cpio"; exit 1; }
done
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'rm -rf "$dir"' EXIT

if [ -z "${KERNEL:-}" ]; then
	package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" {print $2; exit}')
	[ -n "$package" ] || { echo 'no kernel to fetch: run apt-get update, or set KERNEL and MODULES'; exit 1; }
	(cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root "$package")
	dpkg-deb -x "$dir"/linux-image-*.deb "$dir/kernel"
	KERNEL=$(echo "$dir"/kernel/boot/vmlinuz-*)
	MODULES=$(echo "$dir"/kernel/lib/modules/*)
fi

root="$dir/root"
version=$(basename "$MODULES")
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/mnt" "$root/lib/modules/$version"
cp "$(command -v busybox)" "$root/bin/busybox"
for part in drivers/nvme/host drivers/nvme/common drivers/ata drivers/scsi drivers/block fs/ext4 fs/jbd2 fs/mbcache.ko lib block crypto arch/x86/crypto; do
	[ ! -e "$MODULES/kernel/$part" ] || (cd "$MODULES" && find "kernel/$part" -name '*.ko*' | cpio -pdm --quiet "$root/lib/modules/$version")
done
cp "$MODULES"/modules.order "$MODULES"/modules.builtin* "$root/lib/modules/$version"
busybox depmod -b "$root" "$version"

# smartctl and mount (which busybox need not have) with the libraries that they name.
mkdir -p "$root/usr/sbin"
for tool in smartctl mount; do
	path=$(command -v $tool)
	cp -L "$path" "$root/usr/sbin/$tool"
	for file in $(ldd "$path" | grep -o '/[^ ]*'); do
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
	done
done
CGO_ENABLED=0 go test -c -o "$root/bin/disk.test" .

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/usr/sbin:/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for m in nvme ahci sd_mod crc32c_generic ext4; do modprobe $m || echo "no module $m"; done
n=0
while [ ! -e /dev/sdc ] || [ ! -e /dev/nvme1n1 ]; do
	n=$((n + 1)); [ $n -lt 300 ] || break
	sleep 0.1
done
for d in nvme0n1 nvme1n1 sda sdb sdc; do
	mkdir -p /mnt/$d
	mke2fs /dev/$d >/dev/null 2>&1
	mount -t ext4 /dev/$d /mnt/$d || echo "cannot mount $d"
done
KITH_GUEST=1 disk.test -test.v -test.run '^TestGuest$'
echo "guest: exit $?"
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$dir/initrd"

for d in nvme0 nvme1 ata hdd ssd; do truncate -s 256M "$dir/$d.img"; done
accel=${ACCEL:-tcg} # kvm is quicker, where it works
# The serial line is for the guest's own words; the kernel's go there only when something is wrong.
timeout 300 qemu-system-x86_64 -M q35,accel=$accel -m 512 -smp 2 -display none -monitor none -serial "file:$dir/line" -no-reboot -nic none \
	-kernel "$KERNEL" -initrd "$dir/initrd" -append 'console=ttyS0 quiet panic=-1 no_timer_check' \
	-drive "file=$dir/nvme0.img,if=none,id=nvme0,format=raw" -device nvme,serial=KITH0,drive=nvme0 \
	-drive "file=$dir/nvme1.img,if=none,id=nvme1,format=raw" -device nvme,serial=KITH1,drive=nvme1,smart_critical_warning=4 \
	-drive "file=$dir/ata.img,if=none,id=ata,format=raw" -device ide-hd,drive=ata,serial=KITH2,bus=ide.0 \
	-drive "file=$dir/hdd.img,if=none,id=hdd,format=raw" -device ide-hd,drive=hdd,serial=KITH3,bus=ide.1,model=TURNING,rotation_rate=7200 \
	-drive "file=$dir/ssd.img,if=none,id=ssd,format=raw" -device ide-hd,drive=ssd,serial=KITH4,bus=ide.2,model=STANDING,rotation_rate=1 \
	</dev/null || echo "the guest did not end by itself"
tr -d '\r' <"$dir/line" >"$dir/serial"

awk -v to="${RECORD:+testdata}" '
	/^-----BEGIN / {name = $2; next}
	/^-----END/ {if (name != "") close(to "/" name); name = ""; next}
	name != "" {if (to != "") print > (to "/" name); next}
	{print}' "$dir/serial"
grep -qx 'guest: exit 0' "$dir/serial" && grep -q -- '^--- PASS: TestGuest' "$dir/serial"
