//! A function of your own: an ordinary function that other contexts can call as well, if their
//! agent was built with it.

use offshoot::prelude::*;
use std::io;

#[offshoot::remote]
fn lines(text: String) -> usize {
    text.lines().count()
}

#[offshoot::remote]
fn first_line(cx: &Context, path: String) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().next().ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(format!("{cx}: {line}"))
}

fn main() -> Result<(), offshoot::Report> {
    offshoot::run(|router| {
        // Called directly, and in the root context, which is this program: the same code, the same
        // types.
        assert_eq!(lines("a\nb".into()), 2);
        println!(
            "{} lines",
            router.call(lines {
                text: "a\nb\nc".into()
            })?
        );

        // The function's own error comes back as its own type.
        let missing = router.call(first_line {
            path: "/nonexistent".into(),
        });
        let error = missing.err().and_then(CallError::function);
        println!("{:?}", error.map(|error: io::Error| error.kind()));

        // The stock agent was not built with this program's functions, and reports that.
        let child = router.local().connect()?;
        match child.call(lines {
            text: String::new(),
        }) {
            Err(CallError::Failed(Error::NoSuchFunction { context, function })) => {
                println!("{context} has no {function}");
            }
            other => println!("{other:?}"),
        }
        Ok(())
    })?;
    Ok(())
}
