#!/bin/sh
# Boots Debian's own kernel and systemd in an emulated machine, where control groups are of version 2, and runs in it, as root and as
# an ordinary user: the attacks on the sandbox, the caps under stress, and the life of the service over a restart of the machine.
# guest.sh says in which order. The guest has no network.
#
# SUITE=trixie takes another Debian. ONLY=groups, attacks, caps or service runs a part, and TESTS those of the service that it matches.
# ACCEL=kvm is quicker, where it works.
set -eu
cd "$(dirname "$0")/../../../.."
here=node/service/testdata/guest
suite=${SUITE:-bookworm}
accel=${ACCEL:-tcg}
mirror=${MIRROR:-http://deb.debian.org/debian}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kith/guest

need=
for tool in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mke2fs:e2fsprogs go:golang; do
	PATH="$PATH:/usr/sbin:/sbin" command -v "${tool%%:*}" >/dev/null || need="$need ${tool#*:}"
done
as_root=
[ "$(id -u)" = 0 ] || as_root=fakeroot
[ -z "$as_root" ] || command -v fakeroot >/dev/null || need="$need fakeroot uidmap"
[ -z "$need" ] || { echo "missing: apt-get install$need"; exit 1; }
PATH="$PATH:/usr/sbin:/sbin"

dir=$(mktemp -d)
trap 'rm -rf --one-file-system "$dir"' EXIT

# The system is made once, of Debian's packages, and never written to: what a run changes is thrown away.
packages=linux-image-amd64,systemd,systemd-sysv,udev,dbus,dbus-user-session,libpam-systemd,apparmor,kmod,login,passwd,procps,util-linux,e2fsprogs
base=$cache/$suite-$(cat "$here/setup.sh" - <<-END | sha256sum | cut -c1-12
	$packages
END
)
if [ ! -e "$base.img" ]; then
	mkdir -p "$cache"
	echo "making the guest's system in $cache (700 MB), of Debian $suite from $mirror: $packages"
	# What it mounts ends with it: nothing that is removed later may be the machine's own.
	apart=
	[ -n "$as_root" ] || apart='unshare --mount --propagation private'
	$apart mmdebstrap --quiet --variant=minbase --include=$packages --customize-hook="$PWD/$here/setup.sh" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		"$suite" "$dir/root.tar" "$mirror"
	$as_root sh -ec "mkdir '$dir/root'; tar -xf '$dir/root.tar' -C '$dir/root'; mke2fs -q -t ext4 -d '$dir/root' '$dir/base.img' 3G >/dev/null
		cp '$dir'/root/boot/vmlinuz-* '$base.kernel'; cp '$dir'/root/boot/initrd.img-* '$base.initrd'"
	rm -rf --one-file-system "$dir/root" "$dir/root.tar"
	mv "$dir/base.img" "$base.img"
fi

pay=$dir/payload
mkdir -p "$pay/sandbox" "$pay/cgroup" "$pay/service"
cp "$here/guest.sh" "$pay"
echo "${ONLY:-groups attacks caps service}" >"$pay/parts"
echo "${TESTS:-^TestGuest}" >"$pay/tests"
export CGO_ENABLED=0
go build -trimpath -ldflags '-s -w' -o "$pay/kith" ./cmd/kith
for p in tasks/sandbox tasks/sandbox/cgroup node/service; do
	go test -trimpath -c -o "$pay/$(basename $p).test" "./$p"
	[ ! -d "$p/testdata" ] || { mkdir -p "$pay/$(basename $p)"; cp -r "$p/testdata" "$pay/$(basename $p)"; }
done
mke2fs -q -t ext4 -d "$pay" "$dir/payload.img" 400M >/dev/null
truncate -s 4G "$dir/data.img"
mke2fs -q -t ext4 "$dir/data.img"

cpu=max
[ "$accel" != kvm ] || cpu=host
echo "starting it, by $accel: some twenty minutes on a small machine"
timeout 5400 qemu-system-x86_64 -M q35 -accel "$accel" -cpu $cpu -m 3072 -smp 2 -display none -monitor none -nic none -snapshot \
	-kernel "$base.kernel" -initrd "$base.initrd" -append 'root=/dev/vda rw console=ttyS0 quiet panic=-1 no_timer_check' \
	-serial "file:$dir/console" -serial "file:$dir/line" \
	-drive "file=$base.img,if=virtio,format=raw,cache=unsafe" -drive "file=$dir/payload.img,if=virtio,format=raw,cache=unsafe" \
	-drive "file=$dir/data.img,if=virtio,format=raw,cache=unsafe" </dev/null &
guest=$!
trap 'kill $guest 2>/dev/null || true; rm -rf --one-file-system "$dir"' EXIT
while [ ! -e "$dir/line" ] && kill -0 $guest 2>/dev/null; do sleep 0.2; done
tail -f --pid=$guest -s 0.5 "$dir/line" 2>/dev/null | sed -u 's|\r$||' || true
wait $guest || echo 'the guest did not end by itself'
grep -q '^guest: exit 0' "$dir/line" || { echo 'the last words of its kernel:'; tail -n 15 "$dir/console"; exit 1; }
