# What `offshoot doctor` asks a context. $1 is the name of the user, as the agent knows it.
# Every answer is a line KEY=VALUE. A tool that is missing has no answer. stderr is not read; it is
# not sent to /dev/null, which may be missing and would be made.
p(){ printf '%s=%s\n' "$1" "$2";}
lines(){ [ -r "$2" ]&&while IFS= read -r l||[ "$l" ];do case $l in $3)p "$1" "$l";;esac;done <"$2";}
LC_ALL=C
export LC_ALL
p clock "$(date +%s)"
m=$(uname -m)
p machine "$m"
p kernel "$(uname -s) $(uname -r)"
lines os /etc/os-release 'PRETTY_NAME=*'
p host "$(uname -n)"
p address "${SSH_CONNECTION-}"
u=$(id -un)||u=$1
p user "$u"
p uid "$(id -u)"
p groups "$(id -Gn)"
l=$(getent passwd "$u")
[ "$l" ]&&p passwd "$l"||lines passwd /etc/passwd "$u:*"
p umask "$(umask)"
lines limit /proc/self/limits 'Max *'
[ -r /proc/self/limits ]||p nofile "$(ulimit -n)"
lines memory /proc/meminfo 'Mem*'
lines cgroup /sys/fs/cgroup/memory.max '*'
lines proc /proc/self/mounts '* /proc proc *'
lines noexec /proc/sys/vm/memfd_noexec '*'
for t in perl python3;do p "$t" "$(command -v $t)";done
command -v ssh >&2&&p ssh "$(ssh -V 2>&1)"
case $m in x86_64|amd64)n=319;;i?86)n=356;;arm*)n=385;;*)n=279;;esac
if [ -d /proc/self/fd ];then
if command -v python3 >&2;then
python3 -c 'import os
try:
 try:f=os.memfd_create("o",16)
 except OSError:f=os.memfd_create("o",0)
 os.write(f,b"#!/bin/sh\nexit 42\n")
except Exception:os._exit(3)
try:os.execv("/proc/self/fd/%d"%f,["o"])
except Exception:os._exit(4)'
p memfd $?
elif command -v perl >&2;then
perl -e '$^F=255;$n="o";for(16,0){$f=syscall($ARGV[0]+0,$n,$_);last if$f>=0}exit 3 if$f<0;
open O,">&=$f";syswrite O,"#!/bin/sh\nexit 42\n";exec{"/proc/self/fd/$f"}"o";exit 4' $n
p memfd $?
fi
fi
umask 77
for d in @PLACES@;do
s=runs
f=$d/.offshoot-doctor-$$
case $d in @SYSTEM@);;*)[ -d "$d" ]&&{ [ -O "$d" ]||s=others;};;esac
if [ ! -d "$d" ];then s=absent
elif [ $s = runs ];then
# In a process of its own, which a limit for files would end.
(trap 'exec rm -rf "$f"' 0
trap 'exit 7' 1 2 3 15
mkdir "$f"||exit 5
printf '#!/bin/sh\nexit 42\n' >"$f/x"&&chmod 700 "$f/x"||exit 6
"$f/x"
r=$?
trap - 0
rm -rf "$f"
exit $r)
case $? in 42);;5)s=closed;;126)s=noexec;;*)s=full;;esac
[ -d "$f" ]&&rm -rf "$f"
fi
p place "$s $d"
done
p tmpdir "$TMPDIR"
p end yes
