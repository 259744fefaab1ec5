//! A child that returns contexts and channel ends that are not its own. It can run nothing and
//! reach nobody that way, the caller gets an error, and honest contexts are unaffected.

use std::path::PathBuf;

use offshoot::{
    CallError, Context, ContextId, Error, Handle, Policy, Reason, RecvError, Remote, stock,
};
use offshoot_codec::to_bytes;
use offshoot_test_agent::{attributes, channel_ends, context_values};
use offshoot_tests::Leaks;
use offshoot_tests::hostile::{Attack, Outlook, Place};
use offshoot_tests::join_peer::JoinPeer;
use offshoot_tests::process::eventually;
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::Tree;
use serde::Serialize;

/// Services of the tree that could mistake a greeting or a message for a request.
const SERVICES: [u32; 5] = [
    Handle::CALL.0,
    Handle::CONNECT.0,
    Handle::EXEC.0,
    Handle::DETACH.0,
    Handle::CHAIN.0,
];
/// The lowest handles of hubs and of handlers.
const HUBS: u32 = 1 << 31;
const HANDLERS: u32 = 256;

/// A key and a copy id whose bytes are valid chain records without effect.
const KEY_OF_RECORDS: u64 = u64::from_le_bytes([0, 0, 0, 1, 7, 0, 0, 0]);
const COPY_OF_RECORDS: u64 = 1;

fn bytes(value: &impl Serialize) -> Vec<u8> {
    to_bytes(value).expect("it serialises")
}

/// Returns the address of a channel or pipe end, as encoded.
fn address(context: &Context, number: u32, key: u64) -> (ContextId, u32, u64) {
    (context.id(), number, key)
}

/// Returns the encoding of a sender to `context`.
fn sender(context: &Context, number: u32) -> Vec<u8> {
    bytes(&(address(context, number, KEY_OF_RECORDS), COPY_OF_RECORDS))
}

/// Returns the encoding of a context.
fn named(context: &Context) -> Vec<u8> {
    bytes(&(context.id(), context.name()))
}

/// Returns a call of `mark` encoded as a text, and the file it would create. The length of the
/// text, encoded first, doubles as the flags of the call.
fn marking(folder: &ScratchDir) -> (String, PathBuf) {
    let name = <context_values::mark as Remote>::NAME;
    let mut path = folder.path().join("mark").display().to_string();
    // Flags without a cast and without a deadline.
    while !(3 + name.len() + path.len()).is_multiple_of(4) {
        path.push('x');
    }
    let call = [
        &(name.len() as u16).to_le_bytes()[..],
        name.as_bytes(),
        &bytes(&path),
    ]
    .concat();
    (String::from_utf8(call).expect("it is text"), path.into())
}

/// Runs the attack directly below the controller and behind an agent.
#[track_caller]
fn under_attack(play: impl Fn(&Attack)) {
    for place in [Place::Below, Place::Behind] {
        let _leaks = Leaks::begin();
        let mut attack = Attack::with_functions(env!("CARGO_BIN_EXE_hostile"), "values", place);
        play(&attack);
        attack.expect(Outlook::Stays);
        attack.expect_bounds();
        attack.end();
    }
}

/// Asserts that a call failed because its result names `other`.
#[track_caller]
fn refused<T, E: std::fmt::Debug>(
    attack: &Attack,
    other: &Context,
    outcome: Result<T, CallError<E>>,
) {
    match outcome {
        Err(CallError::Failed(error)) => refused_by(attack, other, &error),
        Err(CallError::Function { error, .. }) => panic!("it has run: {error:?}"),
        Ok(_) => panic!("it names {other:?}"),
    }
}

#[track_caller]
fn refused_by(attack: &Attack, other: &Context, error: &Error) {
    let Error::Undelivered {
        context,
        reason: Reason::Refused,
        detail,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(context, attack.hostile.name());
    let about = format!(
        "of {} ({other}), which is neither itself nor below it",
        other.id()
    );
    assert!(
        detail.contains(&about) && detail.contains("Context::by_id"),
        "{error}"
    );
}

/// Returns the contexts that the hostile child was not told of and that are not its own.
fn others(attack: &Attack) -> Vec<Context> {
    attack.honest.clone()
}

#[test]
fn a_forged_sender_reaches_no_service_of_the_tree() {
    under_attack(|attack| {
        let scratch = ScratchDir::new("mark");
        let (order, path) = marking(&scratch);
        let root: &Context = &attack.router;
        for number in SERVICES
            .into_iter()
            .chain([0, HANDLERS, HUBS | 9, u32::MAX])
        {
            let say = sender(root, number);
            let to = attack
                .hostile
                .call(context_values::sender { say })
                .expect("the key decides");
            for _ in 0..3 {
                let _ = to.send(&order);
            }
            assert!(
                eventually(LIMIT, || to.is_closed()),
                "{number}: there is no such channel"
            );
            let error = to
                .send(&order)
                .expect_err("there is no such channel")
                .to_string();
            assert!(error.contains("the receiver is gone"), "{number}: {error}");
            for other in others(attack) {
                refused(
                    attack,
                    &other,
                    attack.hostile.call(context_values::sender {
                        say: sender(&other, number),
                    }),
                );
            }
        }
        // Every context answers, and none has run the order.
        for context in attack.honest.iter().chain([root]) {
            context.call(stock::ping {}).expect("it is there");
            assert!(!path.exists(), "what the hostile child said has run");
        }
        // The order is valid: a chain to the root runs it.
        root.chain()
            .and_then(|chain| {
                chain
                    .call(context_values::mark { path: path.clone() })
                    .map_err(Error::from)
            })
            .expect("it may");
        assert!(path.exists());
    });
}

#[test]
fn a_forged_pipe_or_receiver_detaches_nothing_and_runs_no_program() {
    under_attack(|attack| {
        let root: &Context = &attack.router;
        for number in SERVICES.into_iter().chain([0, HANDLERS, HUBS | 8]) {
            // Keys that decode as a request to detach the context or to run a program, as long as a
            // greeting.
            for key in [0x0101_0F00, KEY_OF_RECORDS, 0x2D2D_0201] {
                let say = || bytes(&address(root, number, key));
                let writer = attack
                    .hostile
                    .call(context_values::writer { say: say() })
                    .expect("the key decides");
                let _ = writer.finish();
                let mut reader = attack
                    .hostile
                    .call(context_values::reader { say: say() })
                    .expect("the key decides");
                let error = reader
                    .next_chunk()
                    .expect_err("there is no such pipe")
                    .to_string();
                assert!(
                    error.contains("nothing listens there") || error.contains("does not know"),
                    "{error}"
                );
                let from = attack
                    .hostile
                    .call(context_values::receiver { say: say() })
                    .expect("the key decides");
                assert!(matches!(from.recv_timeout(LIMIT), Err(RecvError::Lost(_))));
                for other in others(attack) {
                    let say = || bytes(&address(&other, number, key));
                    refused(
                        attack,
                        &other,
                        attack.hostile.call(context_values::writer { say: say() }),
                    );
                    refused(
                        attack,
                        &other,
                        attack.hostile.call(context_values::reader { say: say() }),
                    );
                    refused(
                        attack,
                        &other,
                        attack.hostile.call(context_values::receiver { say: say() }),
                    );
                }
            }
        }
        for context in &attack.honest {
            context.call(stock::ping {}).expect("it is there");
        }
    });
}

#[test]
fn a_child_cannot_return_a_context_that_is_not_its_own() {
    under_attack(|attack| {
        let root: &Context = &attack.router;
        let fake = |id: ContextId| bytes(&(id, format!("{}.worker", attack.hostile)));
        for other in others(attack).iter().chain([root]) {
            refused(
                attack,
                other,
                attack.hostile.call(context_values::context {
                    say: fake(other.id()),
                }),
            );
            refused(
                attack,
                other,
                attack
                    .hostile
                    .call(context_values::error { say: named(other) }),
            );
            let within = vec![
                None,
                Some((1_u8, (other.id(), "worker"), (address(root, 300, 1), 1_u64))),
            ];
            refused(
                attack,
                other,
                attack.hostile.call(context_values::nested {
                    say: bytes(&within),
                }),
            );
            let chain = attack.hostile.chain().expect("the tree lives");
            refused(
                attack,
                other,
                chain.call(context_values::context { say: named(other) }),
            );
        }
        // Ids that are not in use yet.
        for number in [40, 1 << 20, u32::MAX] {
            let error = attack.hostile.call(context_values::context {
                say: fake(ContextId(number)),
            });
            assert!(matches!(
                error,
                Err(CallError::Failed(Error::Undelivered {
                    reason: Reason::Refused,
                    ..
                }))
            ));
        }
        let own = attack
            .hostile
            .call(context_values::context {
                say: fake(attack.hostile.id()),
            })
            .expect("it is itself");
        assert_eq!(
            (own.id(), own.name()),
            (attack.hostile.id(), attack.hostile.name())
        );
    });
}

#[test]
fn a_child_may_name_its_descendants_but_not_with_names_of_others() {
    under_attack(|attack| {
        let granted = attack.hostile.call(context_values::ask {
            of: 0,
            service: Handle::ALLOCATE.0,
            say: Vec::new(),
        });
        let granted = granted.expect("it may ask");
        let (_, first): (u8, u32) =
            offshoot_codec::from_bytes(&granted[..granted.len() - 1]).expect("it is a block");
        let says = |id: u32, name: &str| {
            attack.hostile.call(context_values::context {
                say: bytes(&(ContextId(id), name)),
            })
        };
        assert!(says(first, "mine").is_err(), "it has a number and no child");
        attack
            .hostile
            .call(context_values::announce {
                child: first,
                parent: attack.hostile.id().0,
            })
            .expect("it speaks");
        attack
            .hostile
            .call(context_values::announce {
                child: first + 1,
                parent: first,
            })
            .expect("it speaks");
        let own = format!("{}.own", attack.hostile);
        for (id, name, shown) in [
            (first, own.as_str(), own.clone()),
            (first + 1, own.as_str(), own.clone()),
            (first, "controller", format!("context #{first}")),
            (
                first + 1,
                attack.honest[0].name(),
                format!("context #{}", first + 1),
            ),
            (
                first,
                &format!("{}x", attack.hostile),
                format!("context #{first}"),
            ),
        ] {
            let context = says(id, name).expect("it is its own");
            assert_eq!(
                (context.id(), context.name()),
                (ContextId(id), shown.as_str())
            );
        }
        // The id of a context that is gone refers to nobody.
        let gone = attack.router.local().connect().expect("it is up");
        refused(attack, &gone, says(gone.id().0, "gone"));
        gone.shutdown().expect("it ends");
        let gone = says(gone.id().0, "gone").expect("nobody is there");
        assert!(gone.call(stock::ping {}).is_err());
    });
}

#[test]
fn a_child_may_name_only_contexts_it_was_told_of() {
    under_attack(|attack| {
        let told = |other: &Context, names: &Context| {
            attack.hostile.call(context_values::told {
                other: other.clone(),
                say: named(names),
            })
        };
        let (root, sibling) = (Context::clone(&attack.router), attack.honest[0].clone());
        refused(attack, &root, told(&sibling, &root));
        assert_eq!(told(&sibling, &sibling).expect("it was told"), sibling);
        assert_eq!(told(&root, &root).expect("it was told"), root);
        let another = attack.router.local().connect().expect("it is up");
        refused(attack, &another, told(&sibling, &another));
        refused(
            attack,
            &another,
            attack.hostile.call(context_values::sender {
                say: sender(&another, 300),
            }),
        );
        // Passing on a sender of its channel also tells of a context.
        let scratch = ScratchDir::new("sum");
        let to = another
            .call(channel_ends::collect {
                sum: scratch.path().join("sum"),
            })
            .expect("it has one");
        let bait = attack
            .hostile
            .start(channel_ends::count_to { count: 0, to });
        assert!(
            attack
                .hostile
                .call(context_values::context {
                    say: named(&another)
                })
                .is_ok()
        );
        bait.cancel();
        // An open path does too.
        let apart = attack.router.local().connect().expect("it is up");
        refused(attack, &apart, told(&sibling, &apart));
        attack.router.open_path(&attack.hostile, &apart);
        assert_eq!(told(&sibling, &apart).expect("they have a path"), apart);
        attack.router.close_path(&attack.hostile, &apart);
        refused(attack, &apart, told(&sibling, &apart));
    });
}

#[test]
fn messages_and_calls_from_a_child_may_not_name_other_contexts() {
    under_attack(|attack| {
        let root: &Context = &attack.router;
        let handler = |_: &Context, _, context: Context| context.name().to_owned();
        let _handle = attack
            .router
            .add_handler_at(Handle(300), Policy::Anyone, handler)
            .expect("it is free");
        let (to, from) = root.channel::<Context>().expect("the tree lives");
        let ask = |service: u32, say: Vec<u8>| {
            let answer = attack
                .hostile
                .call(context_values::ask {
                    of: 0,
                    service,
                    say,
                })
                .expect("it is answered");
            String::from_utf8_lossy(&answer).into_owned()
        };
        let call = |name: &str, arguments: Vec<u8>| {
            ask(
                Handle::CALL.0,
                [
                    &[0][..],
                    &(name.len() as u16).to_le_bytes(),
                    name.as_bytes(),
                    &arguments,
                ]
                .concat(),
            )
        };
        let take = |context: &Context| call(<context_values::take as Remote>::NAME, named(context));
        let take_sender = |context: &Context| {
            call(
                <context_values::take_sender as Remote>::NAME,
                sender(context, 300),
            )
        };
        for other in others(attack).iter().chain([root]) {
            attack
                .hostile
                .call(context_values::send {
                    say: named(other),
                    to: to.clone(),
                })
                .expect("it speaks");
            match from.recv_timeout(LIMIT) {
                Err(RecvError::Unreadable(error)) => refused_by(attack, other, &error),
                received => panic!("{received:?}"),
            }
            for told in [take(other), ask(300, named(other))] {
                assert!(told.contains("neither itself nor below it"), "{told}");
            }
        }
        for other in others(attack) {
            let told = take_sender(&other);
            assert!(told.contains("neither itself nor below it"), "{told}");
        }
        // Its own context is accepted.
        let own = attack.hostile.name();
        attack
            .hostile
            .call(context_values::send {
                say: named(&attack.hostile),
                to,
            })
            .expect("it speaks");
        assert_eq!(
            from.recv_timeout(LIMIT).map(|context| context.id()),
            Ok(attack.hostile.id())
        );
        assert!(
            take(&attack.hostile).ends_with(own) && ask(300, named(&attack.hostile)).ends_with(own)
        );
    });
}

#[test]
fn an_agent_applies_the_same_naming_rule_to_its_own_children() {
    let _leaks = Leaks::begin();
    let attack = Attack::with_functions(env!("CARGO_BIN_EXE_hostile"), "values", Place::Behind);
    let (agent, below) = (&attack.honest[1], &attack.honest[2]);
    let fetch = |tell: Option<&Context>, names: &Context| {
        agent.call(context_values::fetch {
            other: attack.hostile.clone(),
            tell: tell.cloned(),
            say: named(names),
        })
    };
    let refused = |outcome: Result<String, CallError<String>>| {
        let why = outcome.expect_err("it may not name it").to_string();
        assert!(why.contains("neither itself nor below it"), "{why}");
    };
    for other in [&attack.honest[0], agent, below, &attack.router] {
        refused(fetch(None, other));
    }
    assert_eq!(
        fetch(None, &attack.hostile).as_deref(),
        Ok(attack.hostile.name())
    );
    // The agent itself tells it of these contexts.
    assert_eq!(fetch(Some(below), below).as_deref(), Ok(below.name()));
    assert_eq!(
        fetch(Some(&attack.honest[0]), &attack.honest[0]).as_deref(),
        Ok(attack.honest[0].name())
    );
    refused(fetch(None, agent));
    attack.end();
}

#[test]
fn honest_contexts_may_return_and_forward_what_they_were_given() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("sum");
    let tree = Tree::new();
    let (one, other) = (tree.child(), tree.child());
    let below = one
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let root = Context::clone(&tree.router);
    // All contexts it was told of.
    let (to, from) = root.channel::<String>().expect("the tree lives");
    let given = vec![root.clone(), one.clone(), other.clone(), below.clone()];
    let (back, to) = one
        .call(context_values::give_back {
            contexts: given.clone(),
            to,
        })
        .expect("all were given");
    assert_eq!(back, given);
    to.send(&"back".into()).expect("there is a receiver");
    drop(to);
    assert_eq!(from.recv_timeout(LIMIT).as_deref(), Ok("back"));
    // A context passed on to a descendant.
    let (to, _from) = root.channel::<String>().expect("the tree lives");
    let (back, _) = below
        .call(context_values::give_back {
            contexts: given[2..3].to_vec(),
            to,
        })
        .expect("it was given");
    assert_eq!(back, std::slice::from_ref(&other));
    // A sender of a context below the one that returns it.
    let sum = scratch.path().join("sum");
    let to = one
        .call(context_values::bring {
            other: below.clone(),
            sum: sum.clone(),
        })
        .expect("it is below it");
    to.send(&5).expect("there is a receiver");
    drop(to);
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    assert!(eventually(LIMIT, || text(&sum).trim() == "5"));
    // Messages disclose contexts to their receiver.
    let (jobs, queue) = root.channel::<Context>().expect("the tree lives");
    let reply = one.start(context_values::first { from: queue });
    jobs.send(&other).expect("there is a receiver");
    assert_eq!(reply.wait().expect("it was sent"), other);
}

#[test]
fn a_joined_process_is_unreachable_for_contexts_it_has_not_called() {
    under_attack(|attack| {
        let folder = ScratchDir::new("guest");
        let listener = attack
            .router
            .listen(folder.path().join("socket"))
            .expect("nobody is there");
        let (mut peer, number) = JoinPeer::joined(env!("CARGO_BIN_EXE_join-peer"), listener.path());
        let guest = listener.accept_timeout(LIMIT).expect("it has joined");
        assert_eq!(guest.id(), ContextId(number));
        let name = <attributes::for_anyone as Remote>::NAME;
        let length = u8::try_from(name.len()).expect("it is short");
        let take = [&[0, length, 0], name.as_bytes()].concat();
        for service in SERVICES
            .into_iter()
            .chain([HANDLERS, HUBS, HUBS | HANDLERS])
        {
            let asked = attack.hostile.call(context_values::ask {
                of: number,
                service,
                say: take.clone(),
            });
            let Err(CallError::Function { error: why, .. }) = asked else {
                panic!("{service}: it is heard: {asked:?}")
            };
            assert_eq!(why, Reason::Isolated.to_string(), "{service}");
        }
        // The joined process may call anybody below.
        let honest = attack.honest[0].id().0;
        assert_eq!(
            peer.does(&format!("place {honest}")).as_deref(),
            Ok(attack.honest[0].name())
        );
        assert_eq!(
            peer.does(&format!("count {honest}")).as_deref(),
            Ok("0 1 2")
        );
        drop(peer);
    });
}
