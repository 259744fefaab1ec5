# What `offshoot doctor` asks sudo. Nothing here asks for a password.
LC_ALL=C
export LC_ALL
p(){ printf '%s=%s\n' "$1" "$2";}
if command -v sudo >&2;then
v=$(sudo -V)
p version "${v%%
*}"
if sudo -n true;then p passwordless yes;else p passwordless no;fi
l=$(sudo -n -l)
for w in use_pty requiretty log_input log_output noexec;do
case $l in *"!$w"*);;*"$w"*)p flag $w;;esac
done
else p version none
fi
p end yes
