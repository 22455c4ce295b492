"""What runs inside the virtual board: the two files of busybox init.

The file etc/board.conf of the overlay (shell assignments) controls: HOST_NAME, and WITHOUT, a list
of things to leave out so that a crippled board can be tested: sftp, sha256sum, base64, setsid,
loader32, and any busybox applet by name (its shell then is dash: that of busybox finds applets
without their links); SMALL_KB, the size of the file system /mnt/small.
"""

INITTAB = """\
::sysinit:/etc/rcS
::respawn:/usr/sbin/dropbear -F -r /etc/dropbear/host_key -p 22 -K 10 -I 0
ttyS0::respawn:/bin/getty -L ttyS0 115200 vt100
::ctrlaltdel:/bin/reboot
::restart:/bin/init
"""

RCS = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
echo 3 > /proc/sys/kernel/printk
for m in @MODULES@; do insmod /lib/modules/$m.ko; done
HOST_NAME=virtual-evb WITHOUT= SMALL_KB=1024
. /etc/board.conf
hostname $HOST_NAME
mount -t tmpfs -o size=${SMALL_KB}k small /mnt/small
mount -t ext4 /dev/vda /mnt/data || echo "no disk: /mnt/data is in memory"
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
[ -f /etc/password ] && cat /etc/password /etc/password | passwd -a sha256 root > /dev/null 2>&1
rm -f /etc/password
[ -n "$WITHOUT" ] && ln -sf dash /bin/sh
for w in $WITHOUT; do
  case $w in
    sftp) rm -f /usr/lib/sftp-server ;;
    loader32) rm -f /lib/ld-linux-armhf.so.3 ;;
    *) rm -f /bin/$w /usr/bin/$w ;;
  esac
done
echo "virtual-evb ready"
"""
