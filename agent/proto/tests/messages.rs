//! Both codecs encode and decode the messages of the tree alike.

use offshoot_codec::{from_bytes, from_own, own, to_bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Decodes every prefix of a message, and the message with each byte changed, with both decoders.
fn read_in_both_ways<T: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned>(value: &T) {
    let bytes = to_bytes(value).unwrap();
    assert_eq!(from_own::<T>(&bytes).as_ref(), Ok(value));
    assert_eq!(own(value), bytes);
    let both = |bytes: &[u8]| {
        let (own, other) = (from_own::<T>(bytes).ok(), from_bytes::<T>(bytes).ok());
        assert_eq!(own, other, "{bytes:?}");
    };
    (0..bytes.len()).for_each(|end| both(&bytes[..end]));
    both(&[&bytes[..], &[0]].concat());
    for at in 0..bytes.len() {
        for other in [0, 1, 2, 3, 127, 250, 251, 252, 253, 254, 255] {
            let mut changed = bytes.clone();
            changed[at] = other;
            both(&changed);
        }
    }
}

#[test]
fn both_readers_agree_on_messages_of_the_tree() {
    use offshoot_proto::ContextId;
    use offshoot_proto::connect::dialogue;
    use offshoot_proto::connect::recipe::{Attach, Recipe};
    use offshoot_proto::message::connect::ConnectRequest;
    use offshoot_proto::{ConnectError, ConnectErrorKind, DeadLetter, Error, Reason};

    let mut connect = ConnectError::new(ConnectErrorKind::Denied, "it says no");
    connect.output = vec!["one".into(), "two".into()];
    let spawn = |errno| Error::Spawn {
        context: "c".into(),
        program: "p".into(),
        errno,
        detail: "d".into(),
    };
    let errors = [
        connect.into(),
        Error::TimedOut {
            context: "web1".into(),
            after_ms: u64::MAX,
        },
        spawn(i32::MIN),
        spawn(-1),
        spawn(i32::MAX),
        Error::ShutDown,
        Error::Function("x".repeat(300)),
    ];
    errors.iter().for_each(read_in_both_ways);
    read_in_both_ways(&DeadLetter {
        reason: Reason::Late,
        by: ContextId(70_000),
        text: "late".into(),
    });
    let rules = vec![dialogue::Rule::explain(
        dialogue::When::ALWAYS,
        &["a", "b"],
        ConnectErrorKind::HostKey,
        "c",
        "d",
    )];
    let argv = vec!["ssh".into(), "web1".into()];
    let mut recipe = Recipe::new("ssh:web1", argv, Attach::Line);
    recipe.at_once = u32::MAX;
    recipe.shell.push("-x".into());
    recipe.prelude = "umask 7;".into();
    recipe.terminal = true;
    recipe.rules = rules;
    recipe.timeout_ms = u64::MAX;
    recipe.hint = "look".into();
    read_in_both_ways(&recipe);
    let request = ConnectRequest {
        prompts: offshoot_proto::Handle(300),
        name: "n".into(),
        title: Some("t".into()),
        recipe,
        announce: true,
        heartbeat: 15,
    };
    let bytes = to_bytes(&request).unwrap();
    assert_eq!(own(&request), bytes);
    assert_eq!(
        from_own::<ConnectRequest>(&bytes).unwrap().recipe,
        request.recipe
    );
}
