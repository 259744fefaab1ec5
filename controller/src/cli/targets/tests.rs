//! What targets mean, what is none, and that each is written as it is read.

use super::{Hop, Local, Shell, Ssh, Sudo, Target};
use offshoot::methods::HostKeys;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

fn hops(text: &str) -> Vec<Hop> {
    text.parse::<Target>().unwrap_or_else(|error| panic!("{error}")).hops
}

fn ssh(host: &str) -> Ssh {
    Ssh { host: host.into(), ..Ssh::default() }
}

fn some(text: &str) -> Option<String> {
    Some(text.into())
}

/// The message for a text that is no target.
fn complaint(text: &str) -> String {
    match text.parse::<Target>() {
        Ok(target) => panic!("{text:?} was read as {target:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_bare_word_is_an_ssh_host() {
    assert_eq!(hops("web1"), [Hop::Ssh(ssh("web1"))]);
    assert_eq!(hops("ssh:web1"), hops("web1"));
    assert_eq!(hops("ssh:sudo"), [Hop::Ssh(ssh("sudo"))], "a host may be named as a method");
    assert_eq!(hops("[sudo]"), [Hop::Ssh(ssh("sudo"))], "what is quoted is no method");
}

#[test]
fn a_host_may_have_a_user_and_a_port() {
    let all = Ssh { user: some("deploy"), port: Some(2222), ..ssh("web1") };
    assert_eq!(hops("deploy@web1:2222"), [Hop::Ssh(all.clone())]);
    assert_eq!(hops("ssh:deploy@web1:2222"), [Hop::Ssh(all.clone())]);
    assert_eq!(hops("web1,user=deploy,port=2222"), [Hop::Ssh(all)]);
    let at = Ssh { user: some("me@corp"), ..ssh("web1") };
    assert_eq!(hops("me@corp@web1"), [Hop::Ssh(at)], "the last @ counts");
}

#[test]
fn an_ssh_url_is_a_hop() {
    for (url, plain) in [
        ("ssh://web1", "web1"),
        ("ssh://deploy@web1:2222", "deploy@web1:2222"),
        ("ssh://deploy@web1:2222/", "deploy@web1:2222"),
        ("ssh://[::1]:22", "[::1]:22"),
        ("ssh://bastion/ssh://me@db7:22/sudo", "bastion/me@db7:22/sudo"),
        ("ssh://sudo", "ssh:sudo"),
        ("local/ssh://web1,port=22", "local/web1,port=22"),
    ] {
        assert_eq!(hops(url), hops(plain), "{url}");
    }
    assert!(complaint("ssh://").contains("the host is empty"));
    assert!(complaint("ssh:///web1").contains("empty"));
    assert!(complaint("web1//sudo").contains("a hop is empty"), "elsewhere two are one too many");
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
        assert!(said.contains("password-file=PATH") && said.contains(":***"), "{said}");
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
        assert!(said.contains("password-file=PATH") && said.contains("=***"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert!("web1,password-file=x/sudo,password-file=y".parse::<Target>().is_ok());
    assert!(complaint("web1,password-file=/tmp/x").contains("goes in brackets"));
    assert!(complaint("deploy:1234@web1").contains("***"), "digits may be one as well");
    let quoted = Ssh { user: some("a:b"), ..ssh("web1") };
    assert_eq!(hops("[a:b]@web1"), [Hop::Ssh(quoted)], "whoever quotes a colon means it");
    for text in
        ["h1:22/me@h2", "me@h1:22/me@h2:23", "h1:22,option=a@b/me@h2", "sudo,role=a:b", "[::1]:22/u@h2"]
    {
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
        ("sudo,login=no,set-home=yes", "sudo,set-home,preserve-env=no"),
    ] {
        assert_eq!(normal(one), normal(other));
    }
    assert_ne!(normal("web1"), normal("u@web1"));
    assert_ne!(normal("sudo,login"), normal("sudo"));
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    assert_eq!(hops("[::1]"), [Hop::Ssh(ssh("::1"))]);
    let all = Ssh { user: some("me"), port: Some(22), ..ssh("fe80::1%eth0") };
    assert_eq!(hops("me@[fe80::1%eth0]:22"), [Hop::Ssh(all)]);
    assert!(complaint("::1").contains("[::1]"));
    assert!(complaint("me@2001:db8::7").contains("IPv6"));
}

#[test]
fn hops_are_separated_by_slashes() {
    let postgres = Sudo { user: some("postgres"), ..Sudo::default() };
    assert_eq!(
        hops("ssh:bastion/ssh:db7/sudo:postgres"),
        [Hop::Ssh(ssh("bastion")), Hop::Ssh(ssh("db7")), Hop::Sudo(postgres)]
    );
    assert_eq!(hops("local/sudo"), [Hop::Local(Local::default()), Hop::Sudo(Sudo::default())]);
}

#[test]
fn every_option_of_ssh_arrives() {
    let all = Ssh {
        host: "web1".into(),
        user: some("deploy"),
        port: Some(22),
        identity: some("/home/me/key"),
        config: some("conf"),
        options: vec!["ProxyJump=a,b".into(), "ForwardAgent=no".into()],
        connect_timeout: Some(5),
        keepalive: Some(0),
        compression: Some(false),
        host_keys: Some(HostKeys::AcceptNew),
        password_file: some("/etc/x"),
    };
    let text = "web1,user=deploy,port=22,identity=%2Fhome%2Fme%2Fkey,config=conf,option=ProxyJump=a[,]b,\
                option=ForwardAgent=no,connect-timeout=5,keepalive=0,compression=no,host-keys=accept-new,\
                password-file=[/etc/x]";
    assert_eq!(hops(text), [Hop::Ssh(all)]);
}

#[test]
fn every_option_of_sudo_arrives() {
    let all = Sudo {
        user: some("postgres"),
        password_file: some("/etc/x"),
        login: Some(true),
        set_home: Some(false),
        preserve_env: Some(true),
        role: some("sysadm_r"),
        selinux_type: some("sysadm_t"),
        timeout: Some(9),
    };
    let text = "sudo:postgres,password-file=[/etc/x],login,set-home=no,preserve-env=yes,role=sysadm_r,type=sysadm_t,timeout=9";
    assert_eq!(hops(text), [Hop::Sudo(all)]);
}

#[test]
fn every_option_of_local_arrives() {
    let posix = Local { shell: Some(Shell::Posix("/bin/dash".into())), timeout: Some(2) };
    assert_eq!(hops("local,shell=[/bin/dash],timeout=2"), [Hop::Local(posix)]);
    let login = Local { shell: Some(Shell::Login("fish".into())), timeout: None };
    assert_eq!(hops("local,login-shell=fish"), [Hop::Local(login)]);
}

#[test]
fn a_bare_hop_shows_only_its_destination() {
    let target = hops("me@web1:22,config=c/sudo:postgres,login/local,timeout=5");
    let bare = Target { hops: target.iter().map(Hop::bare).collect() };
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
        "this is not a target: sudo has no option \"pasword-file\"\n    \
             web1/sudo,pasword-file=x\n              \
                       ^^^^^^^^^^^^\n\
         sudo takes password-file=PATH, login, set-home, preserve-env, role=ROLE, type=TYPE, timeout=SECONDS; \
         `offshoot help targets` explains them."
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
        ("docker:app", "methods, which take other arguments, are local, ssh, sudo"),
        ("-oProxyCommand=x", "cannot begin with -"),
        ("sudo:", "the user to become is empty"),
        ("local:x", "local takes no argument"),
        ("local,shell", "shell needs a value"),
        ("local,shell=a,login-shell=b", "said before"),
        ("web1,port=1,port=2", "said before"),
        ("me@web1,user=you", "said before"),
        ("sudo,login=maybe", "neither yes nor no"),
        ("web1,host-keys=never", "enforce, accept-new or ignore"),
        ("web1,connect-timeout=0", "from 1 to"),
        ("web1,identity=", "identity is empty"),
        ("[web1", "is not closed"),
        ("web1]", "closes nothing"),
        ("web1%2", "is not a byte"),
        ("web1%+f", "is not a byte"),
        ("web1%FF", "is not UTF-8"),
        ("web1\n", "control character"),
        ("web%00", "control character"),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(part), "{text:?} gave: {complaint}");
    }
}

#[test]
fn an_error_does_not_carry_control_characters_to_the_terminal() {
    assert!(!complaint("web1\x1b[2J").contains('\x1b'));
}

/// A generator that needs no crate: the numbers only have to differ.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
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
        (0..=self.below(5)).map(|_| CHARACTERS[self.below(20) as usize]).collect()
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| value(self))
    }

    fn seconds(&mut self) -> Option<u32> {
        self.maybe(|dice| 1 + dice.below(999_999) as u32)
    }

    fn flag(&mut self) -> Option<bool> {
        self.maybe(|dice| dice.below(2) == 0)
    }

    fn hop(&mut self) -> Hop {
        match self.below(3) {
            0 => Hop::Ssh(Ssh {
                // A host must not look like an option.
                host: loop {
                    let host = self.text();
                    if !host.starts_with('-') {
                        break host;
                    }
                },
                user: self.maybe(Dice::text),
                port: self.maybe(|dice| 1 + dice.below(65_535) as u16),
                identity: self.maybe(Dice::text),
                config: self.maybe(Dice::text),
                options: (0..self.below(3)).map(|_| self.text()).collect(),
                connect_timeout: self.seconds(),
                keepalive: self.seconds(),
                compression: self.flag(),
                host_keys: self.maybe(|dice| {
                    [HostKeys::Enforce, HostKeys::AcceptNew, HostKeys::Ignore][dice.below(3) as usize]
                }),
                password_file: self.maybe(Dice::text),
            }),
            1 => Hop::Sudo(Sudo {
                user: self.maybe(Dice::text),
                password_file: self.maybe(Dice::text),
                login: self.flag(),
                set_home: self.flag(),
                preserve_env: self.flag(),
                role: self.maybe(Dice::text),
                selinux_type: self.maybe(Dice::text),
                timeout: self.seconds(),
            }),
            _ => Hop::Local(Local {
                shell: self.maybe(|dice| match dice.below(2) {
                    0 => Shell::Posix(dice.text()),
                    _ => Shell::Login(dice.text()),
                }),
                timeout: self.seconds(),
            }),
        }
    }
}

#[test]
fn a_printed_target_parses_to_the_same_target() {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let mut dice = Dice(seed);
    for _ in 0..20_000 {
        let target = Target { hops: (0..=dice.below(3)).map(|_| dice.hop()).collect() };
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
