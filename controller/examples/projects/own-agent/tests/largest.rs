//! The function in an agent, as on a host.

use offshoot::{CallError, Router};
use own_agent::largest;

#[test]
fn largest_finds_a_file_and_names_a_folder_that_is_missing() -> offshoot::Result<()> {
    let router = Router::builder().package("own-agent").start()?;
    let agent = router.local().connect()?;
    let call = |folder: &str| {
        agent.call(largest {
            folder: folder.into(),
            count: 1,
        })
    };
    assert_eq!(call("/etc")?.len(), 1);
    match call("/no/such") {
        Err(CallError::Function { error, .. }) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound)
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}
