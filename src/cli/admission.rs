//! Who may use the admin side: the tokens, read at a start, and again at a SIGHUP and when their file changes; and a
//! new one, made by `rhumb token`.
//!
//! Never: takes tokens back by a file that cannot be read, or shows one twice.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::args::{Format, TokenArgs};
use super::failure::{Done, Failure};
use super::out::Out;
use crate::admin::TokenStore;
use crate::admin::tokens::{Made, Reread, make};
use crate::control::source;
use crate::settings::Admin;
use crate::telemetry::Recorder;

/// The tokens that the settings' file holds.
///
/// Errors: everything that is wrong with it.
pub fn open(settings: &Admin) -> Result<Arc<TokenStore>, Failure> {
    let tokens = TokenStore::open(&settings.token_file)?;
    if !tokens.tokens().is_empty() {
        tracing::info!("the admin side takes the tokens of {}", tokens.tokens().holders());
    }
    Ok(Arc::new(tokens))
}

/// Reads the tokens again, and says what came of it.
pub fn reread(tokens: &TokenStore, recorder: &Recorder) {
    match tokens.reload() {
        Ok(Reread::Unchanged) => {}
        Ok(Reread::Taken) => {
            recorder.admin_tokens_read("taken");
            tracing::info!("admin tokens taken: {}", tokens.tokens().holders());
        }
        Err(problems) => {
            recorder.admin_tokens_read("refused");
            tracing::error!("admin tokens were not taken, the old ones stay\n{problems}");
        }
    }
}

/// Reads the tokens again whenever their file has changed, for as long as the process lives.
pub async fn follow(tokens: Arc<TokenStore>, recorder: Recorder) {
    let paths: Arc<[PathBuf]> = Arc::from([tokens.path().to_path_buf()]);
    // The sender is held: the watch ends when nobody can name another file.
    let (_named, named) = watch::channel(paths);
    let (changed, mut was_changed) = mpsc::channel(1);
    let reading = async {
        while was_changed.recv().await.is_some() {
            reread(&tokens, &recorder);
        }
    };
    tokio::join!(source::run(named, changed), reading);
}

/// Makes a token. Its line goes to standard output, where a file may take it; the token itself to `stderr`, where a
/// person sees it once. As JSON both go to standard output.
pub fn token(args: &TokenArgs, out: &mut Out<'_>, stderr: &mut dyn Write) -> Done {
    let Made { token, line } = make(&args.name, args.right).map_err(Failure::Usage)?;
    if out.format() == Format::Json {
        let made = json!({"name": args.name, "right": args.right.code(), "token": token, "line": line});
        return out.text(&format!("{made:#}"));
    }
    out.text(&line)?;
    writeln!(stderr, "the token of {}, shown this once: {token}", args.name)?;
    Ok(())
}
