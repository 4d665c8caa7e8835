#!/bin/busybox sh
# The first process of a guest of `cargo xtask test --kernel`: a system that is just enough for the tests. The kernel talks
# on the first serial port, and what is said here goes out by the second.
/bin/busybox --install -s /bin
export PATH=/usr/local/bin:/bin:/sbin HOME=/ BALANCER_BIN=/t/balancer BALANCER_LAB=/t/lab
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS1 2>&1
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
echo "xtask: boot $(uname -r)"
# Modules load when they are asked for, as on a real system.
/steps
echo "xtask: done"
sync
poweroff -f
