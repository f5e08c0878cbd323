//! What waits: requests whose images are to be read, and images that are to be computed. Each worker does what is
//! next: it reads while a batch is not full, then runs the network on what is there, as soon as an engine is free. So a
//! single request is read and computed by one thread without any wait, and what comes meanwhile shares the next run.

use super::metrics::Metrics;
use super::refusal::Refusal;
use super::{Body, Images, Limits, Meaning, Network};
use serde_json::json;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Images of a request at most: each has names and numbers in the answer.
const IMAGES: usize = 1024;

/// The text of an answer.
pub type Answer = Result<String, Refusal>;

/// What belongs to a request from its body to its answer.
struct Request {
    top: usize,
    since: Instant,
    reply: oneshot::Sender<Answer>,
}

/// Images of a request.
struct Job {
    images: Images,
    /// Numbers of an image.
    size: usize,
    progress: Mutex<Progress>,
}

/// How far a job has come.
struct Progress {
    results: Vec<Vec<f32>>,
    /// Images without results.
    left: usize,
    /// Taken when the answer is sent.
    request: Option<Request>,
}

/// Jobs with the next image of each.
type Line = VecDeque<(Arc<Job>, usize)>;

/// Images of a run.
struct Batch {
    meaning: Meaning,
    images: Vec<(Arc<Job>, usize)>,
}

#[derive(Default)]
struct State {
    /// To be read.
    unread: VecDeque<(Body, Request)>,
    /// To be computed: plain images, and prepared ones.
    lines: [Line; 2],
    /// Which line is next where both have images.
    turn: usize,
    /// Engines that nobody uses.
    free: Vec<usize>,
    /// Workers that read or compute.
    busy: usize,
    /// Nobody new comes: nothing waits for others any more.
    hurried: bool,
    stopped: bool,
}

/// All that waits.
pub struct Queue {
    network: Arc<dyn Network>,
    limits: Limits,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// There is something to do, or nothing any more.
    news: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes here guard is never left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a panic for a failure of the server: other requests go on.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Refusal::new(500, "the server failed on this request, which is a bug in ninc")
            .with_help("please report it with the body of the request"))
    })
}

impl State {
    /// Requests that wait.
    fn waiting(&self) -> usize {
        self.unread.len() + self.lines.iter().map(Line::len).sum::<usize>()
    }

    /// Requests with images of one meaning that wait to be computed.
    fn jobs(&self) -> usize {
        self.lines.iter().map(Line::len).max().unwrap_or(0)
    }

    /// Are there images for a whole batch?
    fn full(&self, batch: usize) -> bool {
        let images =
            |line: &Line| line.iter().take(batch).map(|(job, next)| job.images.names.len() - next).sum::<usize>();
        self.lines.iter().any(|line| images(line) >= batch)
    }

    /// Since when the first of the lines waits.
    fn oldest(&self) -> Option<Instant> {
        let since = |(job, _): &(Arc<Job>, usize)| lock(&job.progress).request.as_ref().map(|r| r.since);
        self.lines.iter().flatten().filter_map(since).min()
    }

    /// Takes the next batch: an image of each job in turn, so that a request with many does not hold up the others.
    fn batch(&mut self, most: usize) -> Option<Batch> {
        let other = 1 - self.turn;
        let which = if self.lines[other].is_empty() { self.turn } else { other };
        let line = &mut self.lines[which];
        let meaning = if which == 1 { Meaning::Prepared } else { Meaning::Plain };
        let mut images = Vec::new();
        while images.len() < most
            && let Some((job, next)) = line.pop_front()
        {
            // Who asked has gone, or was told of a failure.
            if lock(&job.progress).request.as_ref().is_none_or(|request| request.reply.is_closed()) {
                continue;
            }
            if next + 1 < job.images.names.len() {
                line.push_back((job.clone(), next + 1));
            }
            images.push((job, next));
        }
        self.turn = which;
        (!images.is_empty()).then_some(Batch { meaning, images })
    }
}

impl Queue {
    pub fn new(network: Arc<dyn Network>, limits: Limits, metrics: Arc<Metrics>) -> Queue {
        let state = State { free: (0..network.engines()).collect(), ..State::default() };
        Queue { network, limits, metrics, state: Mutex::new(state), news: Condvar::new() }
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiting()
    }

    /// Takes a request with its whole body, unless too many wait.
    pub fn submit(&self, body: Body, top: usize) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let mut state = lock(&self.state);
        if state.waiting() >= self.limits.queue {
            return Err(Refusal::new(503, format!("{} requests wait already", self.limits.queue))
                .with_help("ask again after the seconds of Retry-After"));
        }
        let (reply, answer) = oneshot::channel();
        state.unread.push_back((body, Request { top, since: Instant::now(), reply }));
        drop(state);
        self.news.notify_one();
        Ok(answer)
    }

    /// Computes what is there without waiting for more.
    pub fn hurry(&self) {
        lock(&self.state).hurried = true;
        self.news.notify_all();
    }

    /// Lets the workers end once nothing waits.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
        self.news.notify_all();
    }

    /// Works until the queue is stopped and empty.
    pub fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            // A request with many images keeps no other from being read.
            let enough = state.jobs() >= self.limits.batch;
            if let Some((body, request)) = if enough { None } else { state.unread.pop_front() } {
                state.busy += 1;
                self.leave(state);
                let job = self.read(&body, request);
                state = lock(&self.state);
                state.busy -= 1;
                if let Some(job) = job {
                    let line = usize::from(job.images.meaning == Meaning::Prepared);
                    state.lines[line].push_back((job, 0));
                }
                continue;
            }
            let now = Instant::now();
            let wait = Some(self.limits.wait).filter(|wait| !wait.is_zero());
            let due = wait.and_then(|wait| Some(state.oldest()? + wait));
            let may =
                state.full(self.limits.batch) || state.hurried || state.stopped || due.is_none_or(|due| due <= now);
            if may && !state.free.is_empty() && state.jobs() > 0 {
                let Some(batch) = state.batch(self.limits.batch) else { continue };
                let engine = state.free.pop().expect("just looked at");
                state.busy += 1;
                self.leave(state);
                self.compute(engine, batch);
                state = lock(&self.state);
                state.busy -= 1;
                state.free.push(engine);
                continue;
            }
            if state.stopped && state.waiting() == 0 && state.busy == 0 {
                self.news.notify_all();
                return;
            }
            state = match due.filter(|_| !may) {
                Some(due) => self.sleep(state, due.saturating_duration_since(now)),
                None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Lets go of the state for some work; who sleeps is woken where there is more than that.
    fn leave(&self, state: MutexGuard<State>) {
        let more = !state.unread.is_empty() || state.jobs() > 0 && !state.free.is_empty();
        drop(state);
        if more {
            self.news.notify_one();
        }
    }

    fn sleep<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.news.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Reads the images of a request; answers where that fails.
    fn read(&self, body: &Body, request: Request) -> Option<Arc<Job>> {
        // Who asked has gone.
        if request.reply.is_closed() {
            return None;
        }
        match guarded(|| self.network.read(body)) {
            Ok(images) if images.names.len() > IMAGES => {
                let message = format!("the body holds {} images, and a request may have {IMAGES}", images.names.len());
                let _ = request.reply.send(Err(Refusal::new(413, message).with_help("send them in several requests")));
                None
            }
            Ok(images) if !images.names.is_empty() => {
                let count = images.names.len();
                let progress = Progress { results: vec![vec![]; count], left: count, request: Some(request) };
                let size = images.values.len() / count;
                Some(Arc::new(Job { images, size, progress: Mutex::new(progress) }))
            }
            Ok(_) => {
                let _ = request.reply.send(Err(Refusal::new(400, "the body holds no images")));
                None
            }
            Err(refusal) => {
                let _ = request.reply.send(Err(refusal));
                None
            }
        }
    }

    /// Runs the network on a batch, and answers the requests whose last images these were.
    fn compute(&self, engine: usize, batch: Batch) {
        let count = batch.images.len();
        let values: Vec<f32> =
            batch.images.iter().flat_map(|(job, i)| &job.images.values[i * job.size..][..job.size]).copied().collect();
        self.metrics.batch(count);
        let results = guarded(|| self.network.run(engine, batch.meaning, count, &values));
        let size = results.as_ref().map_or(0, |results| results.len() / count);
        for (at, (job, image)) in batch.images.iter().enumerate() {
            let mut progress = lock(&job.progress);
            match &results {
                Ok(results) => {
                    progress.results[*image] = results[at * size..][..size].to_vec();
                    progress.left -= 1;
                    if progress.left == 0
                        && let Some(request) = progress.request.take()
                    {
                        let answer = guarded(|| self.answer(job, &progress.results, &request));
                        let _ = request.reply.send(answer);
                    }
                }
                // Its other images are computed for nobody.
                Err(refusal) => {
                    progress.request.take().map(|request| request.reply.send(Err(refusal.clone())));
                }
            }
        }
    }

    fn answer(&self, job: &Job, results: &[Vec<f32>], request: &Request) -> Answer {
        let named = job.images.names.iter().zip(results);
        let each = named.map(|(name, results)| self.network.answer(name, results, request.top));
        let each = each.collect::<Result<Vec<_>, _>>()?;
        let time = request.since.elapsed().as_micros() as f64 / 1e3;
        Ok(json!({ "results": each, "time_ms": time }).to_string())
    }
}
