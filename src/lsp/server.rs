//! The conversation: requests are answered one after the other, diagnostics follow when nothing else waits.

use super::address::Addresses;
use super::document::Document;
use super::encoding::Encoding;
use super::{actions, complete, hints, hover, names, rename, symbols, tokens};
use crate::front;
use crate::front::outline::Word;
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, Exit, Notification as _, PublishDiagnostics,
};
use lsp_types::request::{self, Request as _};
use lsp_types::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client asked for it, in the order that the protocol prescribes.
    Orderly,
    /// The client said `exit` without `shutdown`.
    Abrupt,
    /// Nothing more comes in.
    Silent,
    /// Nobody takes answers any more.
    Unheard,
}

/// What the client can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// Proposals may hold places to fill in.
    pub snippets: bool,
    /// Diagnostics may point at further places.
    pub related: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Before,
    Running,
    After,
}

struct Server {
    phase: Phase,
    encoding: Encoding,
    client: Client,
    addresses: Addresses,
    documents: HashMap<String, Document>,
    /// Texts whose diagnostics have not been told yet.
    changed: BTreeSet<String>,
}

/// Why a request has no answer.
struct Refusal(ErrorCode, String);

type Answer = Result<Value, Refusal>;

/// Serves one client to its end.
pub fn serve(connection: &Connection) -> End {
    let mut server = Server {
        phase: Phase::Before,
        encoding: Encoding::Utf16,
        client: Client::default(),
        addresses: Addresses::default(),
        documents: HashMap::new(),
        changed: BTreeSet::new(),
    };
    loop {
        let message = match server.changed.pop_first() {
            None => connection.receiver.recv().map_err(|_| End::Silent),
            // Whoever types fast is answered first.
            Some(uri) => match connection.receiver.try_recv() {
                Ok(message) => {
                    server.changed.insert(uri);
                    Ok(message)
                }
                Err(_) => {
                    if server.diagnostics(&uri).is_none_or(|told| connection.sender.send(told).is_ok()) {
                        continue;
                    }
                    Err(End::Unheard)
                }
            },
        };
        let sent = match message {
            Err(end) => return end,
            Ok(Message::Notification(notification)) if notification.method == Exit::METHOD => {
                return if server.phase == Phase::After { End::Orderly } else { End::Abrupt };
            }
            Ok(Message::Request(request)) => connection.sender.send(server.respond(request).into()),
            Ok(Message::Notification(notification)) => {
                server.hear(notification);
                Ok(())
            }
            Ok(Message::Response(_)) => Ok(()),
        };
        if sent.is_err() {
            return End::Unheard;
        }
    }
}

/// Does the work; a fault of the server's own ends the one request, not the conversation.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        Refusal(ErrorCode::InternalError, "a bug in ninc: its report is in the server's error output".into())
    })
}

fn params<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|e| Refusal(ErrorCode::InvalidParams, e.to_string()))
}

fn json_of(value: impl serde::Serialize) -> Answer {
    serde_json::to_value(value).map_err(|e| Refusal(ErrorCode::InternalError, e.to_string()))
}

impl Server {
    fn respond(&mut self, Request { id, method, mut params }: Request) -> Response {
        self.addresses.enter(&mut params);
        let answer = match (self.phase, method.as_str()) {
            (Phase::Before, request::Initialize::METHOD) => self.initialize(params),
            (Phase::Before, _) => Err(Refusal(ErrorCode::ServerNotInitialized, "`initialize` comes first".into())),
            (Phase::After, _) => Err(Refusal(ErrorCode::InvalidRequest, "the server has been shut down".into())),
            (Phase::Running, request::Shutdown::METHOD) => {
                self.phase = Phase::After;
                Ok(Value::Null)
            }
            (Phase::Running, _) => guarded(|| self.answer(&method, params)).and_then(|answer| answer),
        };
        match answer {
            Ok(mut value) => {
                self.addresses.leave(&mut value);
                Response::new_ok(id, value)
            }
            Err(Refusal(code, message)) => Response::new_err(id, code as i32, message),
        }
    }

    fn initialize(&mut self, value: Value) -> Answer {
        // By hand: what a client says of itself beyond this may be of any later version of the protocol.
        let capabilities = &value["capabilities"];
        let offered = &capabilities["general"]["positionEncodings"];
        let offered: Option<Vec<PositionEncodingKind>> = serde_json::from_value(offered.clone()).unwrap_or(None);
        self.encoding = Encoding::negotiate(offered.as_deref());
        let text = &capabilities["textDocument"];
        self.client = Client {
            snippets: text["completion"]["completionItem"]["snippetSupport"] == true,
            related: text["publishDiagnostics"]["relatedInformation"] == true,
        };
        self.phase = Phase::Running;
        let capabilities = ServerCapabilities {
            position_encoding: Some(self.encoding.kind()),
            text_document_sync: Some(TextDocumentSyncKind::INCREMENTAL.into()),
            hover_provider: Some(true.into()),
            completion_provider: Some(CompletionOptions {
                trigger_characters: Some([">", "(", ",", "=", "["].map(String::from).to_vec()),
                ..CompletionOptions::default()
            }),
            definition_provider: Some(OneOf::Left(true)),
            references_provider: Some(OneOf::Left(true)),
            document_highlight_provider: Some(OneOf::Left(true)),
            rename_provider: Some(OneOf::Right(RenameOptions {
                prepare_provider: Some(true),
                work_done_progress_options: WorkDoneProgressOptions::default(),
            })),
            document_formatting_provider: Some(OneOf::Left(true)),
            inlay_hint_provider: Some(OneOf::Left(true)),
            code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
                code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]),
                ..CodeActionOptions::default()
            })),
            document_symbol_provider: Some(OneOf::Left(true)),
            folding_range_provider: Some(true.into()),
            semantic_tokens_provider: Some(
                SemanticTokensOptions {
                    legend: tokens::legend(),
                    full: Some(SemanticTokensFullOptions::Bool(true)),
                    ..SemanticTokensOptions::default()
                }
                .into(),
            ),
            ..ServerCapabilities::default()
        };
        Ok(json!({
            "capabilities": json_of(capabilities)?,
            "serverInfo": { "name": "ninc", "version": env!("CARGO_PKG_VERSION") },
        }))
    }

    /// Takes over what a notification says; one that makes no sense is left, as the protocol wants it.
    fn hear(&mut self, Notification { method, params: mut value }: Notification) {
        if self.phase != Phase::Running {
            return;
        }
        self.addresses.enter(&mut value);
        match method.as_str() {
            DidOpenTextDocument::METHOD => {
                let Ok(DidOpenTextDocumentParams { text_document: opened }) = params(value) else { return };
                let uri = opened.uri.as_str().to_string();
                let name = uri.rsplit('/').next().unwrap_or("the file").to_string();
                let document = Document::new(opened.text, Some(opened.version), name, self.encoding);
                self.documents.insert(uri.clone(), document);
                self.changed.insert(uri);
            }
            DidChangeTextDocument::METHOD => {
                let Ok(DidChangeTextDocumentParams { text_document, content_changes }) = params(value) else { return };
                let uri = text_document.uri.as_str().to_string();
                if let Some(document) = self.documents.get_mut(&uri) {
                    document.change(Some(text_document.version), content_changes);
                    self.changed.insert(uri);
                }
            }
            DidCloseTextDocument::METHOD => {
                let Ok(DidCloseTextDocumentParams { text_document }) = params(value) else { return };
                let uri = text_document.uri.as_str().to_string();
                self.documents.remove(&uri);
                self.changed.insert(uri);
            }
            _ => {}
        }
    }

    /// Makes the message with a text's diagnostics: none for one that is closed.
    fn diagnostics(&self, uri: &str) -> Option<Message> {
        let uri = uri.parse::<Uri>().ok()?;
        let document = self.documents.get(uri.as_str());
        let list = |document: &Document| guarded(|| actions::diagnostics(document, &uri, self.client)).ok();
        let diagnostics = document.map_or(Some(vec![]), list)?;
        let version = document.and_then(|document| document.version);
        let mut params = json_of(PublishDiagnosticsParams { uri, diagnostics, version }).ok()?;
        self.addresses.leave(&mut params);
        Some(Notification::new(PublishDiagnostics::METHOD.into(), params).into())
    }

    fn document(&self, uri: &Uri) -> Result<&Document, Refusal> {
        let unknown = || Refusal(ErrorCode::InvalidParams, format!("{} is not open", uri.as_str()));
        self.documents.get(uri.as_str()).ok_or_else(unknown)
    }

    fn at(&self, at: &TextDocumentPositionParams) -> Result<(&Document, usize), Refusal> {
        let document = self.document(&at.text_document.uri)?;
        Ok((document, document.offset(at.position)))
    }

    /// The document and the word at a place.
    fn word(&self, at: &TextDocumentPositionParams) -> Result<(&Document, Option<&Word>), Refusal> {
        let (document, offset) = self.at(at)?;
        Ok((document, document.word(offset)))
    }

    fn answer(&self, method: &str, value: Value) -> Answer {
        match method {
            request::HoverRequest::METHOD => {
                let p: HoverParams = params(value)?;
                let (document, offset) = self.at(&p.text_document_position_params)?;
                json_of(hover::hover(document, offset))
            }
            request::Completion::METHOD => {
                let p: CompletionParams = params(value)?;
                let (document, offset) = self.at(&p.text_document_position)?;
                json_of(complete::complete(document, offset, self.client))
            }
            request::GotoDefinition::METHOD => {
                let p: GotoDefinitionParams = params(value)?;
                let (document, word) = self.word(&p.text_document_position_params)?;
                let uri = p.text_document_position_params.text_document.uri;
                let span = word.and_then(|word| names::definition(document, word));
                json_of(span.map(|span| Location::new(uri, document.range(span))))
            }
            request::References::METHOD => {
                let p: ReferenceParams = params(value)?;
                let (document, word) = self.word(&p.text_document_position)?;
                let uri = p.text_document_position.text_document.uri;
                let location = |range| Location::new(uri.clone(), range);
                let definitions = p.context.include_declaration;
                json_of(symbols::uses(document, word, definitions).into_iter().map(location).collect::<Vec<_>>())
            }
            request::DocumentHighlightRequest::METHOD => {
                let p: DocumentHighlightParams = params(value)?;
                let (document, word) = self.word(&p.text_document_position_params)?;
                let highlight = |range| DocumentHighlight { range, kind: None };
                json_of(symbols::uses(document, word, true).into_iter().map(highlight).collect::<Vec<_>>())
            }
            request::PrepareRenameRequest::METHOD => {
                let p: TextDocumentPositionParams = params(value)?;
                let (document, word) = self.word(&p)?;
                let word = word.filter(|word| names::symbol(document, word).is_some());
                json_of(word.map(|word| PrepareRenameResponse::Range(document.range(word.span))))
            }
            request::Rename::METHOD => {
                let p: RenameParams = params(value)?;
                let (document, word) = self.word(&p.text_document_position)?;
                let nothing = || Refusal(ErrorCode::InvalidRequest, "there is no name here".into());
                let spans = rename::rename(document, word.ok_or_else(nothing)?, &p.new_name)
                    .map_err(|why| Refusal(ErrorCode::InvalidRequest, why))?;
                let edit = |span| TextEdit::new(document.range(span), p.new_name.clone());
                let edits = spans.into_iter().map(edit).collect();
                json_of(actions::edit(p.text_document_position.text_document.uri, edits))
            }
            _ => self.answer_whole(method, value),
        }
    }

    /// Answers requests about a whole text.
    fn answer_whole(&self, method: &str, value: Value) -> Answer {
        match method {
            request::Formatting::METHOD => {
                let p: DocumentFormattingParams = params(value)?;
                let document = self.document(&p.text_document.uri)?;
                let formatted = front::format(&document.text).ok();
                json_of(formatted.map(|formatted| actions::replace(document, &formatted)))
            }
            request::InlayHintRequest::METHOD => {
                let p: InlayHintParams = params(value)?;
                let document = self.document(&p.text_document.uri)?;
                json_of(hints::hints(document, document.span(p.range)))
            }
            request::CodeActionRequest::METHOD => {
                let p: CodeActionParams = params(value)?;
                let document = self.document(&p.text_document.uri)?;
                let wanted = |kind: &CodeActionKind| *kind == CodeActionKind::QUICKFIX || kind.as_str().is_empty();
                let asked = p.context.only.is_none_or(|only| only.iter().any(wanted));
                let span = document.span(p.range);
                let actions = || actions::actions(document, &p.text_document.uri, span, self.client);
                json_of(if asked { actions() } else { vec![] })
            }
            request::DocumentSymbolRequest::METHOD => {
                let p: DocumentSymbolParams = params(value)?;
                json_of(symbols::symbols(self.document(&p.text_document.uri)?))
            }
            request::FoldingRangeRequest::METHOD => {
                let p: FoldingRangeParams = params(value)?;
                json_of(symbols::folds(self.document(&p.text_document.uri)?))
            }
            request::SemanticTokensFullRequest::METHOD => {
                let p: SemanticTokensParams = params(value)?;
                json_of(tokens::tokens(self.document(&p.text_document.uri)?))
            }
            _ => Err(Refusal(ErrorCode::MethodNotFound, format!("ninc does not answer `{method}`"))),
        }
    }
}
