//! A child that answers with contexts and ends of channels and pipes that are not its own: nothing runs that it names, nobody is
//! reached that it may not name, and whoever asked is told. And what honest contexts give each other goes on.

use std::path::PathBuf;

use offshoot::{CallError, Context, ContextId, Error, Handle, Policy, Reason, RecvError, Remote, stock};
use offshoot_agent::codec::to_bytes;
use offshoot_test_agent::{flows, values};
use offshoot_tests::Leaks;
use offshoot_tests::joiner::Joiner;
use offshoot_tests::process::eventually;
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::siege::{Outlook, Place, Siege};
use offshoot_tests::tree::Tree;
use serde::Serialize;

/// Services of the tree that a greeting or a message could be taken for an order to.
const SERVICES: [u32; 5] =
    [Handle::CALL.0, Handle::CONNECT.0, Handle::EXEC.0, Handle::DETACH.0, Handle::CHAIN.0];
/// Where hubs are numbered from, and handlers.
const HUBS: u32 = 1 << 31;
const HANDLERS: u32 = 256;

/// A key and a copy that are two of a chain's records, each without effect.
const KEY_OF_RECORDS: u64 = u64::from_le_bytes([0, 0, 0, 1, 7, 0, 0, 0]);
const COPY_OF_RECORDS: u64 = 1;

fn bytes(value: &impl Serialize) -> Vec<u8> {
    to_bytes(value).expect("it serialises")
}

/// Where an end of a channel or pipe is, as it travels.
fn address(context: &Context, number: u32, key: u64) -> (ContextId, u32, u64) {
    (context.id(), number, key)
}

/// A sender of `context`, as it travels.
fn sender(context: &Context, number: u32) -> Vec<u8> {
    bytes(&(address(context, number, KEY_OF_RECORDS), COPY_OF_RECORDS))
}

/// A context as it travels.
fn named(context: &Context) -> Vec<u8> {
    bytes(&(context.id(), context.name()))
}

/// A call of `mark` as a text, and what it makes: the text's length, which comes first, is the flags of the call.
fn marking(folder: &ScratchDir) -> (String, PathBuf) {
    let name = <values::mark as Remote>::NAME;
    let mut path = folder.path().join("mark").display().to_string();
    // Neither a cast nor with a deadline.
    while !(3 + name.len() + path.len()).is_multiple_of(4) {
        path.push('x');
    }
    let call = [&(name.len() as u16).to_le_bytes()[..], name.as_bytes(), &bytes(&path)].concat();
    (String::from_utf8(call).expect("it is text"), path.into())
}

/// Plays it where the hostile child is directly below, and where it is behind an agent.
#[track_caller]
fn besieged(play: impl Fn(&Siege)) {
    for place in [Place::Below, Place::Behind] {
        let _leaks = Leaks::begin();
        let mut siege = Siege::with_functions(env!("CARGO_BIN_EXE_hostile"), "values", place);
        play(&siege);
        siege.expect(Outlook::Stays);
        siege.expect_bounds();
        siege.end();
    }
}

/// That a call has failed because what it gave names `other`.
#[track_caller]
fn refused<T, E: std::fmt::Debug>(siege: &Siege, other: &Context, outcome: Result<T, CallError<E>>) {
    match outcome {
        Err(CallError::Failed(error)) => refused_by(siege, other, &error),
        Err(CallError::Function(error)) => panic!("it has run: {error:?}"),
        Ok(_) => panic!("it names {other:?}"),
    }
}

#[track_caller]
fn refused_by(siege: &Siege, other: &Context, error: &Error) {
    let Error::Undelivered { context, reason: Reason::Refused, detail } = error else { panic!("{error}") };
    assert_eq!(context, siege.hostile.name());
    let about = format!("of {} ({other}), which is neither itself nor below it", other.id());
    assert!(detail.contains(&about) && detail.contains("Context::by_id"), "{error}");
}

/// The contexts of a siege that the hostile child was not told of and that are not its own.
fn others(siege: &Siege) -> Vec<Context> {
    siege.honest.clone()
}

#[test]
fn whatever_a_sender_claims_to_lead_to_it_is_none_of_the_trees_services() {
    besieged(|siege| {
        let scratch = ScratchDir::new("mark");
        let (order, path) = marking(&scratch);
        let root: &Context = &siege.router;
        for number in SERVICES.into_iter().chain([0, HANDLERS, HUBS | 9, u32::MAX]) {
            let say = sender(root, number);
            let to = siege.hostile.call(values::sender { say }).expect("the key decides");
            for _ in 0..3 {
                let _ = to.send(&order);
            }
            assert!(eventually(LIMIT, || to.is_closed()), "{number}: there is no such channel");
            let error = to.send(&order).expect_err("there is no such channel").to_string();
            assert!(error.contains("the receiver is gone"), "{number}: {error}");
            for other in others(siege) {
                refused(siege, &other, siege.hostile.call(values::sender { say: sender(&other, number) }));
            }
        }
        // Each of them answers, and none has done anything.
        for context in siege.honest.iter().chain([root]) {
            context.call(stock::ping {}).expect("it is there");
            assert!(!path.exists(), "what the hostile child said has run");
        }
        // What it would have been: a chain of that context takes it.
        root.chain()
            .and_then(|chain| chain.call(values::mark { path: path.clone() }).map_err(Error::from))
            .expect("it may");
        assert!(path.exists());
    });
}

#[test]
fn a_pipe_or_receiver_that_is_none_neither_lets_anything_go_nor_runs_a_program() {
    besieged(|siege| {
        let root: &Context = &siege.router;
        for number in SERVICES.into_iter().chain([0, HANDLERS, HUBS | 8]) {
            // An order to let the context go, and one to run a program, as long as a greeting.
            for key in [0x0101_0F00, KEY_OF_RECORDS, 0x2D2D_0201] {
                let say = || bytes(&address(root, number, key));
                let writer = siege.hostile.call(values::writer { say: say() }).expect("the key decides");
                let _ = writer.finish();
                let mut reader = siege.hostile.call(values::reader { say: say() }).expect("the key decides");
                let error = reader.next_chunk().expect_err("there is no such pipe").to_string();
                assert!(
                    error.contains("nothing listens there") || error.contains("does not know"),
                    "{error}"
                );
                let from = siege.hostile.call(values::receiver { say: say() }).expect("the key decides");
                assert!(matches!(from.recv_timeout(LIMIT), Err(RecvError::Lost(_))));
                for other in others(siege) {
                    let say = || bytes(&address(&other, number, key));
                    refused(siege, &other, siege.hostile.call(values::writer { say: say() }));
                    refused(siege, &other, siege.hostile.call(values::reader { say: say() }));
                    refused(siege, &other, siege.hostile.call(values::receiver { say: say() }));
                }
            }
        }
        for context in &siege.honest {
            context.call(stock::ping {}).expect("it is there");
        }
    });
}

#[test]
fn a_context_that_is_another_cannot_be_passed_off_as_ones_own() {
    besieged(|siege| {
        let root: &Context = &siege.router;
        let fake = |id: ContextId| bytes(&(id, format!("{}.worker", siege.hostile)));
        for other in others(siege).iter().chain([root]) {
            refused(siege, other, siege.hostile.call(values::context { say: fake(other.id()) }));
            refused(siege, other, siege.hostile.call(values::error { say: named(other) }));
            let within = vec![None, Some((1_u8, (other.id(), "worker"), (address(root, 300, 1), 1_u64)))];
            refused(siege, other, siege.hostile.call(values::nested { say: bytes(&within) }));
            let chain = siege.hostile.chain().expect("the tree lives");
            refused(siege, other, chain.call(values::context { say: named(other) }));
        }
        // Numbers that nobody has yet, and may have next.
        for number in [40, 1 << 20, u32::MAX] {
            let error = siege.hostile.call(values::context { say: fake(ContextId(number)) });
            assert!(matches!(
                error,
                Err(CallError::Failed(Error::Undelivered { reason: Reason::Refused, .. }))
            ));
        }
        let own =
            siege.hostile.call(values::context { say: fake(siege.hostile.id()) }).expect("it is itself");
        assert_eq!((own.id(), own.name()), (siege.hostile.id(), siege.hostile.name()));
    });
}

#[test]
fn what_is_below_a_context_is_its_own_and_has_no_name_of_others() {
    besieged(|siege| {
        let granted = siege.hostile.call(values::ask { of: 0, service: Handle::ALLOCATE.0, say: Vec::new() });
        let granted = granted.expect("it may ask");
        let (_, first): (u8, u32) =
            offshoot_agent::codec::from_bytes(&granted[..granted.len() - 1]).expect("it is a block");
        let says =
            |id: u32, name: &str| siege.hostile.call(values::context { say: bytes(&(ContextId(id), name)) });
        assert!(says(first, "mine").is_err(), "it has a number and no child");
        siege
            .hostile
            .call(values::announce { child: first, parent: siege.hostile.id().0 })
            .expect("it speaks");
        siege.hostile.call(values::announce { child: first + 1, parent: first }).expect("it speaks");
        let own = format!("{}.own", siege.hostile);
        for (id, name, shown) in [
            (first, own.as_str(), own.clone()),
            (first + 1, own.as_str(), own.clone()),
            (first, "controller", format!("context #{first}")),
            (first + 1, siege.honest[0].name(), format!("context #{}", first + 1)),
            (first, &format!("{}x", siege.hostile), format!("context #{first}")),
        ] {
            let context = says(id, name).expect("it is its own");
            assert_eq!((context.id(), context.name()), (ContextId(id), shown.as_str()));
        }
        // Nobody is there who could be meant by the number of one that is gone.
        let gone = siege.router.local().connect().expect("it is up");
        refused(siege, &gone, says(gone.id().0, "gone"));
        gone.shutdown().expect("it ends");
        let gone = says(gone.id().0, "gone").expect("nobody is there");
        assert!(gone.call(stock::ping {}).is_err());
    });
}

#[test]
fn what_a_context_was_told_of_it_may_name_and_nothing_else() {
    besieged(|siege| {
        let told = |other: &Context, names: &Context| {
            siege.hostile.call(values::told { other: other.clone(), say: named(names) })
        };
        let (root, sibling) = (Context::clone(&siege.router), siege.honest[0].clone());
        refused(siege, &root, told(&sibling, &root));
        assert_eq!(told(&sibling, &sibling).expect("it was told"), sibling);
        assert_eq!(told(&root, &root).expect("it was told"), root);
        let another = siege.router.local().connect().expect("it is up");
        refused(siege, &another, told(&sibling, &another));
        refused(siege, &another, siege.hostile.call(values::sender { say: sender(&another, 300) }));
        // A sender of its own channel, which this process hands on, tells of it as well.
        let scratch = ScratchDir::new("sum");
        let to = another.call(flows::collect { sum: scratch.path().join("sum") }).expect("it has one");
        let bait = siege.hostile.start(flows::count_to { count: 0, to });
        assert!(siege.hostile.call(values::context { say: named(&another) }).is_ok());
        bait.cancel();
        // So does a path.
        let apart = siege.router.local().connect().expect("it is up");
        refused(siege, &apart, told(&sibling, &apart));
        siege.router.open_path(&siege.hostile, &apart);
        assert_eq!(told(&sibling, &apart).expect("they have a path"), apart);
        siege.router.close_path(&siege.hostile, &apart);
        refused(siege, &apart, told(&sibling, &apart));
    });
}

#[test]
fn messages_and_calls_from_below_are_held_to_the_same() {
    besieged(|siege| {
        let root: &Context = &siege.router;
        let handler = |_: &Context, _, context: Context| context.name().to_owned();
        let _handle = siege.router.add_handler_at(Handle(300), Policy::Anyone, handler).expect("it is free");
        let (to, from) = root.channel::<Context>().expect("the tree lives");
        let ask = |service: u32, say: Vec<u8>| {
            let answer = siege.hostile.call(values::ask { of: 0, service, say }).expect("it is answered");
            String::from_utf8_lossy(&answer).into_owned()
        };
        let call = |name: &str, arguments: Vec<u8>| {
            ask(
                Handle::CALL.0,
                [&[0][..], &(name.len() as u16).to_le_bytes(), name.as_bytes(), &arguments].concat(),
            )
        };
        let take = |context: &Context| call(<values::take as Remote>::NAME, named(context));
        let take_sender =
            |context: &Context| call(<values::take_sender as Remote>::NAME, sender(context, 300));
        for other in others(siege).iter().chain([root]) {
            siege.hostile.call(values::send { say: named(other), to: to.clone() }).expect("it speaks");
            match from.recv_timeout(LIMIT) {
                Err(RecvError::Unreadable(error)) => refused_by(siege, other, &error),
                received => panic!("{received:?}"),
            }
            for told in [take(other), ask(300, named(other))] {
                assert!(told.contains("neither itself nor below it"), "{told}");
            }
        }
        for other in others(siege) {
            let told = take_sender(&other);
            assert!(told.contains("neither itself nor below it"), "{told}");
        }
        // Its own goes through.
        let own = siege.hostile.name();
        siege.hostile.call(values::send { say: named(&siege.hostile), to }).expect("it speaks");
        assert_eq!(from.recv_timeout(LIMIT).map(|context| context.id()), Ok(siege.hostile.id()));
        assert!(take(&siege.hostile).ends_with(own) && ask(300, named(&siege.hostile)).ends_with(own));
    });
}

#[test]
fn an_agent_holds_what_is_below_it_to_the_same_and_obeys_those_above() {
    let _leaks = Leaks::begin();
    let siege = Siege::with_functions(env!("CARGO_BIN_EXE_hostile"), "values", Place::Behind);
    let (agent, below) = (&siege.honest[1], &siege.honest[2]);
    let fetch = |tell: Option<&Context>, names: &Context| {
        agent.call(values::fetch { other: siege.hostile.clone(), tell: tell.cloned(), say: named(names) })
    };
    let refused = |outcome: Result<String, CallError<String>>| {
        let why = outcome.expect_err("it may not name it").to_string();
        assert!(why.contains("neither itself nor below it"), "{why}");
    };
    for other in [&siege.honest[0], agent, below, &siege.router] {
        refused(fetch(None, other));
    }
    assert_eq!(fetch(None, &siege.hostile).as_deref(), Ok(siege.hostile.name()));
    // What the agent itself tells it of; what only the root knows of is that one's.
    assert_eq!(fetch(Some(below), below).as_deref(), Ok(below.name()));
    assert_eq!(fetch(Some(&siege.honest[0]), &siege.honest[0]).as_deref(), Ok(siege.honest[0].name()));
    refused(fetch(None, agent));
    siege.end();
}

#[test]
fn honest_contexts_give_back_and_hand_on_what_they_were_given() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("sum");
    let tree = Tree::new();
    let (one, other) = (tree.child(), tree.child());
    let below = one.local().connect().unwrap_or_else(|error| panic!("{error}"));
    let root = Context::clone(&tree.router);
    // All that one knows by being told.
    let (to, from) = root.channel::<String>().expect("the tree lives");
    let given = vec![root.clone(), one.clone(), other.clone(), below.clone()];
    let (back, to) = one.call(values::give_back { contexts: given.clone(), to }).expect("all were given");
    assert_eq!(back, given);
    to.send(&"back".into()).expect("there is a receiver");
    drop(to);
    assert_eq!(from.recv_timeout(LIMIT).as_deref(), Ok("back"));
    // What was handed on below.
    let (to, _from) = root.channel::<String>().expect("the tree lives");
    let (back, _) =
        below.call(values::give_back { contexts: given[2..3].to_vec(), to }).expect("it was given");
    assert_eq!(back, std::slice::from_ref(&other));
    // A sender of one that is below who gives it.
    let sum = scratch.path().join("sum");
    let to = one.call(values::bring { other: below.clone(), sum: sum.clone() }).expect("it is below it");
    to.send(&5).expect("there is a receiver");
    drop(to);
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    assert!(eventually(LIMIT, || text(&sum).trim() == "5"));
    // The receiver of a channel is told by its messages.
    let (jobs, queue) = root.channel::<Context>().expect("the tree lives");
    let reply = one.start(values::first { from: queue });
    jobs.send(&other).expect("there is a receiver");
    assert_eq!(reply.wait().expect("it was sent"), other);
}

#[test]
fn a_guest_is_not_reached_by_those_it_has_not_spoken_to() {
    besieged(|siege| {
        let folder = ScratchDir::new("guest");
        let listener = siege.router.listen(folder.path().join("socket")).expect("nobody is there");
        let (mut joiner, number) = Joiner::joined(env!("CARGO_BIN_EXE_joiner"), listener.path());
        let guest = listener.accept_timeout(LIMIT).expect("it has joined");
        assert_eq!(guest.id(), ContextId(number));
        let take = [&[0, 0x25, 0][..], b"offshoot_test_agent::ways::for_anyone"].concat();
        for service in SERVICES.into_iter().chain([HANDLERS, HUBS, HUBS | HANDLERS]) {
            let asked = siege.hostile.call(values::ask { of: number, service, say: take.clone() });
            let Err(CallError::Function(why)) = asked else { panic!("{service}: it is heard: {asked:?}") };
            assert_eq!(why, Reason::Isolated.to_string(), "{service}");
        }
        // The guest speaks to whom it likes.
        let honest = siege.honest[0].id().0;
        assert_eq!(joiner.does(&format!("place {honest}")).as_deref(), Ok(siege.honest[0].name()));
        assert_eq!(joiner.does(&format!("count {honest}")).as_deref(), Ok("0 1 2"));
        drop(joiner);
    });
}
