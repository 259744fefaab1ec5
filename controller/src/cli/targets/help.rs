//! What `offshoot help targets` prints.

/// The grammar of targets, for people.
pub const TARGETS: &str = "\
A target is a path of hops, separated by /, that begins at this machine:

    web1                              a host by ssh, under the name that your ssh knows
    deploy@web1:2222                  with user and port
    web1/sudo                         root there, by sudo
    ssh:bastion/ssh:db7/sudo:postgres two hosts, the second by the first's ssh, and a user there
    local, local/sudo                 this machine

A hop is METHOD:ARGUMENT,KEY=VALUE,... and a word that is not a method is an ssh host; ssh:sudo is
a host named sudo. Hops that several targets have in common, options included, are taken once.

ssh:[USER@]HOST[:PORT] runs the ssh of the machine where the hop begins, with the configuration and
the keys there:
    user=USER  port=PORT
    identity=PATH           a private key, as ssh -i
    config=PATH             another configuration file, as ssh -F
    option=NAME=VALUE       as ssh -o; may be given several times
    connect-timeout=SECONDS the longest that the hop may take
    keepalive=SECONDS       between keepalives of ssh itself
    compression=yes|no
    host-keys=enforce       only a key that is known; accept-new: a new host's key is accepted and
                            kept; ignore: any key is accepted
    password-file=PATH
  The options -F, -i, -o, -l, -p, -C, -J and -A say the same for the first ssh hop of each target,
  where the hop does not say it itself; -J HOSTS is option=ProxyJump=HOSTS, which jumps with the
  keys of this machine, and -A is option=ForwardAgent=yes.
  A password answers that host's own question for it; a jump host, a code or a locked key get none.

sudo or sudo:USER; USER is root unless given:
    password-file=PATH
    login                   start-up files of the user, as sudo -i
    set-home                HOME is the user's, as sudo -H
    preserve-env            keeps the environment where the policy allows it, as sudo -E
    role=ROLE  type=TYPE    of SELinux
    timeout=SECONDS         the longest that the hop may take

local is a child on the machine where the hop begins:
    shell=PATH              brings it up through this POSIX shell, as on a remote host
    login-shell=PATH        brings it up through a login shell of any kind
    timeout=SECONDS

Password files are read on this machine: the first line, without its end.

Text in square brackets is taken as it is, and outside of them %XX is a byte in hexadecimal, so
that / and , and : can be written:
    'sudo,password-file=[/etc/web1]'     the same: sudo,password-file=%2Fetc%2Fweb1
    'deploy@[2001:db8::7]:2222'          an IPv6 address
Mind that [ and ] mean something to some shells, hence the quotes around.";
