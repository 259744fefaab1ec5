//! Targets: valid and invalid ones, and the round trip from text to text.

use super::{Hop, Target};
use offshoot_agent::method::spec::{Argument, OptionSpec, Value};
use offshoot_agent::method::{METHODS, Row, find};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

fn hops(text: &str) -> Vec<Hop> {
    text.parse::<Target>()
        .unwrap_or_else(|error| panic!("{error}"))
        .hops
}

fn hop(method: &str, values: &[(&'static str, &str)]) -> Hop {
    let mut hop = Hop::new(find(method).expect("it is a method"));
    values.iter().for_each(|(key, value)| hop.push(key, *value));
    hop
}

fn ssh(host: &str) -> Hop {
    hop("ssh", &[("host", host)])
}

/// Returns the message for a text that is no target.
fn complaint(text: &str) -> String {
    match text.parse::<Target>() {
        Ok(target) => panic!("{text:?} was read as {target:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_bare_word_is_an_ssh_host() {
    assert_eq!(hops("web1"), [ssh("web1")]);
    assert_eq!(hops("ssh:web1"), hops("web1"));
    assert_eq!(
        hops("ssh:sudo"),
        [ssh("sudo")],
        "a host may be named as a method"
    );
    assert_eq!(hops("[sudo]"), [ssh("sudo")], "a quoted word is no method");
}

#[test]
fn a_host_may_have_a_user_and_a_port() {
    let all = hop(
        "ssh",
        &[("user", "deploy"), ("host", "web1"), ("port", "2222")],
    );
    assert_eq!(hops("deploy@web1:2222"), std::slice::from_ref(&all));
    assert_eq!(hops("ssh:deploy@web1:2222"), std::slice::from_ref(&all));
    assert_eq!(
        hops("web1,user=deploy,port=2222"),
        std::slice::from_ref(&all)
    );
    assert_eq!(
        hops("web1:02222,user=deploy"),
        [all],
        "a number has one form"
    );
    let at = hop("ssh", &[("user", "me@corp"), ("host", "web1")]);
    assert_eq!(hops("me@corp@web1"), [at], "the last @ counts");
}

#[test]
fn an_ssh_url_is_a_hop() {
    for (url, plain) in [
        ("ssh://web1", "web1"),
        ("ssh://deploy@web1:2222", "deploy@web1:2222"),
        ("ssh://deploy@web1:2222/", "deploy@web1:2222"),
        ("ssh://[::1]:22", "[::1]:22"),
        (
            "ssh://bastion/ssh://me@db7:22/sudo",
            "bastion/me@db7:22/sudo",
        ),
        ("ssh://sudo", "ssh:sudo"),
        ("local/ssh://web1,port=22", "local/web1,port=22"),
    ] {
        assert_eq!(hops(url), hops(plain), "{url}");
    }
    assert!(complaint("ssh://").contains("the host is empty"));
    assert!(complaint("ssh:///web1").contains("empty"));
    assert!(
        complaint("web1//sudo").contains("a hop is empty"),
        "elsewhere two are one too many"
    );
}

#[test]
fn a_password_in_a_target_is_refused_and_not_shown() {
    for text in [
        "deploy:hunter2@web1",
        "ssh:deploy:hunter2@web1:22/sudo",
        "ssh://deploy:hunter2@web1:2222/",
        "bastion/deploy:hunter2@web1",
        "bastion:22/deploy:hunter2@web1",
        "deploy:hunter2/hunter2@web1",
        "deploy:hunter2@hunter2@web1",
        "deploy:hunter2,hunter2@web1,port=22",
        "deploy:hunter2:hunter2@web1",
        "deploy:[hunter2@web1",
        "deploy:[hunter2]@web1",
        "deploy:%hunter2@web1",
        "deploy:22hunter2@web1",
        "deploy:@hunter2@web1",
        "sudo:root:hunter2",
        "web1/sudo:root:hunter2",
        "web1/sudo:root:hunter2,login/local",
    ] {
        let said = complaint(text);
        assert!(
            said.contains("password-file=PATH") && said.contains(":***"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
    for text in [
        "web1,password=hunter2",
        "web1,passwd=hunter2,hunter2",
        "web1/sudo,pass=hunter2/hunter2",
        "local,port=1,password=hunter2@x",
        "web1,password-file=x,passphrase=hunter2",
    ] {
        let said = complaint(text);
        assert!(
            said.contains("password-file=PATH") && said.contains("=***"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert!(
        "web1,password-file=x/sudo,password-file=y"
            .parse::<Target>()
            .is_ok()
    );
    assert!(complaint("web1,password-file=/tmp/x").contains("in brackets"));
    assert!(
        complaint("deploy:1234@web1").contains("***"),
        "digits may be one as well"
    );
    let quoted = hop("ssh", &[("user", "a:b"), ("host", "web1")]);
    assert_eq!(
        hops("[a:b]@web1"),
        [quoted],
        "a quoted colon is a part of the text"
    );
    for text in [
        "h1:22/me@h2",
        "me@h1:22/me@h2:23",
        "h1:22,option=a@b/me@h2",
        "sudo,role=a:b",
        "[::1]:22/u@h2",
    ] {
        assert!(text.parse::<Target>().is_ok(), "{text}");
    }
}

#[test]
fn equivalent_hops_are_equal_once_defaults_are_removed() {
    let normal = |text: &str| {
        let mut hops = hops(text);
        hops.iter_mut().for_each(Hop::normalise);
        hops
    };
    for (one, other) in [
        ("web1/sudo", "ssh:web1/sudo:root"),
        ("u@web1", "web1,user=u"),
        (
            "sudo,login=no,set-home=yes",
            "sudo,set-home,preserve-env=no",
        ),
    ] {
        assert_eq!(normal(one), normal(other));
    }
    assert_ne!(normal("web1"), normal("u@web1"));
    assert_ne!(normal("sudo,login"), normal("sudo"));
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    assert_eq!(hops("[::1]"), [ssh("::1")]);
    let all = hop(
        "ssh",
        &[("user", "me"), ("host", "fe80::1%eth0"), ("port", "22")],
    );
    assert_eq!(hops("me@[fe80::1%eth0]:22"), [all]);
    assert!(complaint("::1").contains("[::1]"));
    assert!(complaint("me@2001:db8::7").contains("IPv6"));
}

#[test]
fn hops_are_separated_by_slashes() {
    assert_eq!(
        hops("ssh:bastion/ssh:db7/sudo:postgres"),
        [
            ssh("bastion"),
            ssh("db7"),
            hop("sudo", &[("user", "postgres")])
        ]
    );
    assert_eq!(hops("local/sudo"), [hop("local", &[]), hop("sudo", &[])]);
}

#[test]
fn every_option_of_ssh_arrives() {
    let all = hop(
        "ssh",
        &[
            ("user", "deploy"),
            ("host", "web1"),
            ("port", "22"),
            ("identity", "/home/me/key"),
            ("config", "conf"),
            ("option", "ProxyJump=a,b"),
            ("option", "ForwardAgent=no"),
            ("keepalive", "0"),
            ("compression", "no"),
            ("host-keys", "accept-new"),
            ("password-file", "/etc/x"),
            ("timeout", "5"),
        ],
    );
    let text = "web1,user=deploy,port=22,identity=%2Fhome%2Fme%2Fkey,config=conf,option=ProxyJump=a[,]b,\
                option=ForwardAgent=no,timeout=5,keepalive=0,compression=no,host-keys=accept-new,\
                password-file=[/etc/x]";
    assert_eq!(hops(text), std::slice::from_ref(&all));
    assert_eq!(
        (all.get("timeout"), all.password_file()),
        (Some("5"), Some("/etc/x"))
    );
    let words = all
        .build()
        .expect("it is described")
        .recipe("")
        .argv
        .join(" ");
    for part in [
        "-o ProxyJump=a,b -o ForwardAgent=no",
        "ServerAliveInterval=0",
        "Compression=no",
        "StrictHostKeyChecking=accept-new",
        "-F conf -i /home/me/key -l deploy -p 22 -- web1",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn every_option_of_sudo_arrives() {
    let all = hop(
        "sudo",
        &[
            ("user", "postgres"),
            ("password-file", "/etc/x"),
            ("login", "yes"),
            ("set-home", "no"),
            ("preserve-env", "yes"),
            ("role", "sysadm_r"),
            ("type", "sysadm_t"),
            ("timeout", "9"),
        ],
    );
    let text = "sudo:postgres,password-file=[/etc/x],login,set-home=no,preserve-env=yes,role=sysadm_r,type=sysadm_t,timeout=9";
    assert_eq!(hops(text), std::slice::from_ref(&all));
    assert_eq!(
        (all.get("timeout"), all.password_file()),
        (Some("9"), Some("/etc/x"))
    );
    let words = all
        .build()
        .expect("it is described")
        .recipe("")
        .argv
        .join(" ");
    assert!(
        words.contains("-u postgres -i -E -r sysadm_r -t sysadm_t --"),
        "{words}"
    );
}

#[test]
fn a_hop_of_every_method_has_the_common_options() {
    let values = [
        ("name", "first"),
        ("title", "two words"),
        ("timeout", "9"),
        ("heartbeat", "0"),
        ("env", "A=b=c"),
        ("env", "B="),
        ("dir", "/srv/a b"),
        ("umask", "027"),
        ("shell", "/bin/dash"),
        ("login", "yes"),
        ("exec", "file"),
    ];
    let options = ",exec=file,login,umask=27,name=first,title=two words,timeout=9,heartbeat=0,env=A=b=c,env=B=,\
                   dir=[/srv/a b],shell=[/bin/dash]";
    for row in METHODS {
        let mut all = match row.spec.argument {
            Argument::Host => hop(row.spec.name, &[("host", "x")]),
            Argument::Text {
                key: "namespaces", ..
            } => hop(row.spec.name, &[("namespaces", "net")]),
            Argument::Text { key, .. } | Argument::TextOr { key, .. } => {
                hop(row.spec.name, &[(key, "x")])
            }
            Argument::None => hop(row.spec.name, &[]),
        };
        let text = format!("{all}{options}");
        values.iter().for_each(|(key, value)| all.push(key, *value));
        assert_eq!(hops(&text), std::slice::from_ref(&all), "{text}");
        assert!(all.build().is_ok(), "{text}");
    }
}

#[test]
fn every_option_of_local_arrives() {
    let posix = hop("local", &[("shell", "/bin/dash"), ("timeout", "2")]);
    assert_eq!(
        hops("local,timeout=2,shell=[/bin/dash]"),
        std::slice::from_ref(&posix)
    );
    let recipe = |hop: &Hop| hop.build().expect("it is described").recipe("");
    assert_eq!(
        (posix.get("shell"), posix.get("timeout")),
        (Some("/bin/dash"), Some("2"))
    );
    let login = hop("local", &[("login-shell", "fish")]);
    assert_eq!(hops("local,login-shell=fish"), std::slice::from_ref(&login));
    assert_ne!(
        recipe(&login).attach,
        recipe(&posix).attach,
        "one line, not a script"
    );
}

#[test]
fn a_bare_hop_shows_only_its_destination() {
    let target = hops("me@web1:22,config=c/sudo:postgres,login/local,timeout=5");
    let bare = Target {
        hops: target.iter().map(Hop::bare).collect(),
    };
    assert_eq!(bare.to_string(), "me@web1:22/sudo:postgres/local");
}

#[test]
fn brackets_and_percent_escapes_quote() {
    assert_eq!(hops("sudo:[a/b,c:d%41]"), hops("sudo:a%2Fb%2cc%3Ad%2541"));
    assert_eq!(hops("sudo:%C3%A9"), hops("sudo:é"));
    assert_eq!(hops("sudo:a[]b"), hops("sudo:ab"));
}

#[test]
fn an_error_points_at_its_position() {
    assert_eq!(
        complaint("web1/sudo,pasword-file=x"),
        "invalid target: sudo has no option \"pasword-file\"\n    \
             web1/sudo,pasword-file=x\n              \
                       ^^^^^^^^^^^^\n\
         sudo takes password-file=PATH, login, set-home, preserve-env, role=ROLE, type=TYPE, name=NAME, \
         title=TEXT, timeout=SECONDS, heartbeat=SECONDS, env=NAME=VALUE, dir=PATH, umask=OCTAL, shell=PATH, \
         exec=auto|memfd|file; \
         see `offshoot help targets sudo`."
    );
}

#[test]
fn an_invalid_target_is_explained() {
    for (text, part) in [
        ("", "it is empty"),
        ("/sudo", "a hop is empty"),
        ("web1/", "a hop is empty"),
        ("web1//sudo", "a hop is empty"),
        ("web1,", "no option \"\""),
        ("ssh", "ssh needs a host"),
        ("ssh:", "the host is empty"),
        ("@web1", "the user is empty"),
        ("me@", "the host is empty"),
        ("web1:", "\"\" is not a port"),
        ("web1:0", "\"0\" is not a port"),
        ("web1:65536", "\"65536\" is not a port"),
        ("web1:+22", "\"+22\" is not a port"),
        ("no-method:app", "belong to the methods "),
        ("-oProxyCommand=x", "cannot begin with -"),
        ("sudo:", "the user to become is empty"),
        ("su:-x", "the user to become cannot begin with -"),
        ("local:x", "local takes no argument"),
        ("local,shell", "shell needs a value"),
        ("local,shell=a,shell=b", "already set"),
        ("local,env=A", "has no value"),
        ("web1,env=1A=x", "no name of a variable"),
        ("web1,env==x", "no name of a variable"),
        ("sudo,umask=8", "not a umask"),
        ("sudo,umask=1000", "not a umask"),
        ("web1,heartbeat=x", "a number of seconds"),
        ("web1,port=1,port=2", "already set"),
        ("me@web1,user=you", "already set"),
        ("sudo,login=maybe", "neither yes nor no"),
        ("web1,host-keys=never", "enforce, accept-new or ignore"),
        ("web1,timeout=0", "from 1 to"),
        ("web1,identity=", "identity is empty"),
        ("command:[ ]", "a command has at least one"),
        ("unshare:foo", "as in net+pid"),
        (
            "setns,pid=1,namespaces=foo",
            "mount, uts, ipc, net, pid, user, cgroup and time",
        ),
        ("web1,option=SessionType=none", "leave it out"),
        ("web1,option=[stdinnull  yes]", "with its stdin"),
        ("web1,option=ForkAfterAuthentication=yes", "leave it out"),
        ("web1,option=RemoteCommand=top", "a command of its own"),
        ("[web1", "has no ]"),
        ("web1]", "has no ["),
        ("web1%2", "not a byte"),
        ("web1%+f", "not a byte"),
        ("web1%FF", "not UTF-8"),
        ("web1\n", "control character"),
        ("web%00", "control character"),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(part), "{text:?} gave: {complaint}");
    }
}

#[test]
fn an_error_of_a_value_points_at_the_value() {
    let seen = complaint("web1/setns,pid=1,namespaces=foo,user=x");
    assert!(
        seen.contains(
            "namespaces=foo,user=x\n                     ^^^^^^^^^^^^^^\nThe namespaces are "
        ),
        "{seen}"
    );
    let seen = complaint("unshare:foo");
    assert!(seen.contains("unshare:foo\n            ^^^\n"), "{seen}");
}

#[test]
fn an_error_does_not_carry_control_characters_to_the_terminal() {
    assert!(!complaint("web1\x1b[2J").contains('\x1b'));
}

/// A random number generator that needs no crate. Its quality does not matter.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn text(&mut self) -> String {
        const CHARACTERS: [&str; 20] = [
            "a",
            "b",
            "local",
            "ssh",
            "sudo",
            "/",
            ",",
            ":",
            "=",
            "@",
            "[",
            "]",
            "%",
            "-",
            " ",
            "é",
            "%41",
            "\u{1F980}",
            "\"",
            ".",
        ];
        (0..=self.below(5))
            .map(|_| CHARACTERS[self.below(20) as usize])
            .collect()
    }

    fn host(&mut self) -> String {
        loop {
            let host = self.text();
            if !host.starts_with('-') {
                return host;
            }
        }
    }

    /// Returns a value that the option accepts.
    fn value(&mut self, option: &OptionSpec) -> String {
        match &option.value {
            Value::Flag | Value::YesNo => ["yes", "no"][self.below(2) as usize].into(),
            Value::Text(_) | Value::Texts(_) | Value::PasswordFile => self.text(),
            Value::Number { range, .. } => (u64::from(*range.start())
                + self.below(u64::from(range.end() - range.start()) + 1))
            .to_string(),
            Value::Variable => format!("A_{}={}", self.below(10), self.text()),
            Value::Umask => format!("{:03o}", self.below(0o1000)),
            Value::Timeout => (1 + self.below(999_999)).to_string(),
            Value::Choice { words, .. } => words[self.below(words.len() as u64) as usize].into(),
        }
    }

    /// Returns a hop whose method takes its values.
    fn hop(&mut self) -> Hop {
        loop {
            let hop = self.any_hop();
            if hop.build().is_ok() {
                return hop;
            }
        }
    }

    fn any_hop(&mut self) -> Hop {
        let row: &'static Row = &METHODS[self.below(METHODS.len() as u64) as usize];
        let mut hop = Hop::new(row);
        for key in hop.argument_keys() {
            match *key {
                // An argument must not look like an option.
                _ if matches!(row.spec.argument, Argument::TextOr { .. }) => {
                    hop.fill(key, (self.below(2) == 0).then(|| self.host()));
                }
                _ if matches!(row.spec.argument, Argument::Text { default: None, .. }) => {
                    hop.push(key, self.host());
                }
                _ if matches!(row.spec.argument, Argument::Text { .. }) => {
                    hop.fill(key, (self.below(2) == 0).then(|| self.host()));
                }
                "host" => hop.push(key, self.host()),
                "port" => hop.fill(
                    key,
                    (self.below(2) == 0).then(|| (1 + self.below(65_535)).to_string()),
                ),
                _ => hop.fill(key, (self.below(2) == 0).then(|| self.text())),
            }
        }
        if let Argument::TextOr { key, option, .. } = row.spec.argument
            && hop.get(key).is_none()
        {
            let known = row.spec.options.iter().find(|known| known.key == option);
            let value = self.value(known.expect("it is described"));
            hop.push(option, value);
        }
        for option in row.spec.all_options() {
            let argument = match row.spec.argument {
                Argument::TextOr { key, option, .. } => Some((key, option)),
                _ => None,
            };
            let excluded = argument
                .is_some_and(|(key, or)| option.key == or && hop.get(key).is_some())
                || option
                    .excludes
                    .is_some_and(|other| hop.get(other).is_some())
                || row.spec.options.iter().any(|other| {
                    other.excludes == Some(option.key) && hop.get(other.key).is_some()
                });
            if !excluded && self.below(2) == 0 {
                let value = self.value(option);
                hop.fill(option.key, Some(value));
                if matches!(option.value, Value::Texts(_) | Value::Variable) {
                    let more = self.value(option);
                    hop.push(option.key, more);
                }
            }
        }
        hop
    }
}

#[test]
fn a_printed_target_parses_to_the_same_target() {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let mut dice = Dice(seed);
    for _ in 0..20_000 {
        let target = Target {
            hops: (0..=dice.below(3)).map(|_| dice.hop()).collect(),
        };
        let text = target.to_string();
        match text.parse::<Target>() {
            Ok(read) => assert_eq!(read, target, "{text}"),
            Err(error) => panic!("{target:?}: {error}"),
        }
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let mut dice = Dice(seed);
    for _ in 0..20_000 {
        let text: String = (0..dice.below(4)).map(|_| dice.text()).collect();
        if let Err(error) = text.parse::<Target>() {
            assert!(!error.to_string().is_empty());
        }
    }
}
