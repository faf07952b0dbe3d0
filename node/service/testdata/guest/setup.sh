#!/bin/sh
# Makes a fresh Debian, in the folder $1, the guest of run.sh: it runs guest.sh at every start, and ann lives there.
set -eu
for m in payload data; do mkdir -p "$1/$m"; done
cat >"$1/etc/fstab" <<'END'
/dev/vda / ext4 rw,noatime 0 0
/dev/vdb /payload ext4 ro 0 0
/dev/vdc /data ext4 rw,noatime 0 0
END
cat >"$1/etc/systemd/system/guest.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=exec
ExecStart=/bin/bash /payload/guest.sh
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
[Install]
WantedBy=multi-user.target
END
chroot "$1" systemctl --quiet enable guest.service
chroot "$1" systemctl --quiet mask serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer
chroot "$1" useradd --create-home --shell /bin/bash ann
mkdir -p "$1/var/log/journal" # it is kept over a restart, and ordinary users may read their own
echo guest >"$1/etc/hostname"
