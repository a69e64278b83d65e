//! `operations`: finds, follows and cancels the server's work.

use std::time::SystemTime;

use tonic::Request;

use super::{
    Context, create, ensure,
    errors::Fault,
    exit::Stop,
    follow::{OnLeave, follow},
    list::MAX_PAGES,
    pull,
};
use crate::grpc::proto::v1::{
    Operation, OperationsCancelRequest, OperationsGetRequest, OperationsListRequest, OperationsListResponse,
    OperationsWatchRequest,
    operation::{self, Outcome},
};

mod view;

/// The most that a server gives at once.
const PAGE: i32 = 1000;

/// What `operations` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, clap::Subcommand)]
enum Word {
    /// List what runs and what has ended lately, newest first
    List {
        /// Only of this model
        #[arg(long, value_name = "MODEL")]
        model: Option<String>,
        /// Only in this state
        #[arg(long, value_enum, value_name = "STATE")]
        state: Option<State>,
    },
    /// Tell one operation
    Get {
        /// The operation's id
        id: String,
    },
    /// Follow one operation to its end; fails when it failed
    Watch {
        /// The operation's id
        id: String,
    },
    /// Cancel one operation for all who wait for it
    Cancel {
        /// The operation's id
        id: String,
    },
}

/// Where an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

pub(super) async fn run(args: Args, cx: &mut Context) -> Result<(), Stop> {
    match args.word {
        Word::List { model, state } => list(model.unwrap_or_default(), state, cx).await,
        Word::Get { id } => get(id, cx).await,
        Word::Watch { id } => watch(id, cx).await,
        Word::Cancel { id } => cancel(id, cx).await,
    }
}

async fn list(model: String, state: Option<State>, cx: &mut Context) -> Result<(), Stop> {
    let state = match state {
        None => operation::State::Unspecified,
        Some(State::Queued) => operation::State::Queued,
        Some(State::Running) => operation::State::Running,
        Some(State::Succeeded) => operation::State::Succeeded,
        Some(State::Failed) => operation::State::Failed,
        Some(State::Cancelled) => operation::State::Cancelled,
    };
    let mut client = cx.operations().await?;
    let mut whole = OperationsListResponse::default();
    let mut page_token = String::new();
    for _page in 0..MAX_PAGES {
        let request = cx.request(OperationsListRequest {
            backend: cx.backend(),
            model: model.clone(),
            state: state.into(),
            page_size: PAGE,
            page_token,
        });
        let page = cx.answer(client.list(request)).await?;
        whole.operations.extend(page.operations);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return cx
                .console
                .result("ichat.modelcontrol.v1.OperationsListResponse", &whole, |whole| {
                    view::table(&whole.operations, SystemTime::now())
                });
        }
    }
    Err(Fault::protocol(format!("the list did not end within {MAX_PAGES} pages")).into())
}

async fn get(id: String, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.operations().await?;
    let request = cx.request(OperationsGetRequest { operation_id: id });
    let answer = cx.answer(client.get(request)).await?;
    cx.console
        .result("ichat.modelcontrol.v1.OperationsGetResponse", &answer, |answer| {
            view::one(&answer.operation.clone().unwrap_or_default(), SystemTime::now())
        })
}

async fn watch(id: String, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.operations().await?;
    let request = OperationsWatchRequest {
        operation_id: id,
        after_sequence: 0,
    };
    let ended = follow(cx, client.watch(Request::new(request)), OnLeave::GoesOn).await?;
    note_continues(cx, &ended);
    match &ended.outcome {
        // The call went well; what was asked about did not.
        Some(Outcome::Failure(failure)) => Err(Fault::from_failure(failure).into()),
        _ if cx.json() => Ok(()),
        Some(Outcome::EnsureReady(result)) => cx.console.line(ensure::told_ready(result)),
        Some(Outcome::Pull(result)) => cx.console.line(pull::told(result)),
        Some(Outcome::CreateFromPath(result)) => cx.console.line(create::told(result)),
        _ => cx.console.line(view::one(&ended, SystemTime::now())),
    }
}

async fn cancel(id: String, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.operations().await?;
    let request = cx.request(OperationsCancelRequest { operation_id: id });
    let answer = cx.answer(client.cancel(request)).await?;
    cx.console
        .result("ichat.modelcontrol.v1.OperationsCancelResponse", &answer, |answer| {
            view::cancelled(&answer.operation.clone().unwrap_or_default())
        })?;
    note_continues(cx, &answer.operation.unwrap_or_default());
    Ok(())
}

/// Some engines cannot stop what they began.
fn note_continues(cx: &mut Context, operation: &Operation) {
    if !operation.continues.is_empty() {
        let what = super::text::printable(&operation.continues);
        cx.console.note(format_args!("warning: the engine cannot stop: {what}"));
    }
}
