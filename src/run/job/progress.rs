//! Steps as events with a duration, and the worker's own lines in the log.

use super::{JobError, Workshop};
use crate::{
    queue::{self, Claim},
    run::{LogLevel, Step},
};
use serde_json::json;
use std::{pin::pin, time::Instant};

/// Writes what happens to a claimed run.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    pub shop: &'a Workshop,
    pub claim: &'a Claim,
}

impl Progress<'_> {
    /// Does one step. Its note is one sentence for people.
    pub async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<(T, String), JobError>>,
    ) -> Result<T, JobError> {
        self.event("step_started", json!({ "step": step })).await?;
        let begun = Instant::now();
        let outcome = self.unless_docker_ends(work).await;
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (ok, note) = match &outcome {
            Ok((_, note)) => (true, note.clone()),
            Err(error) => (false, error.to_string()),
        };
        if !ok {
            // The reason stands at the end of the log, where people look for it. A lost lease refuses the line.
            let _ = self.log("system", LogLevel::Error, &note).await;
        }
        let payload = json!({ "step": step, "ok": ok, "duration_ms": duration_ms, "note": note });
        let finished = self.event("step_finished", payload).await;
        let (value, _) = outcome?;
        finished?;
        Ok(value)
    }

    /// What a container's end means is not known when the daemon ended with it: such a step is tried again.
    async fn unless_docker_ends<T>(
        &self,
        work: impl Future<Output = Result<T, JobError>>,
    ) -> Result<T, JobError> {
        let docker = &self.shop.docker;
        let mut gone = pin!(docker.gone());
        let restarted = || Err(JobError::docker_restarted("while a step ran"));
        let outcome = tokio::select! {
            biased;
            () = &mut gone => return restarted(),
            outcome = work => outcome,
        };
        let Err(JobError::Fail { .. }) = outcome else { return outcome };
        // A daemon that is told to end takes no more calls, then ends its containers, then goes away.
        tokio::select! {
            biased;
            () = &mut gone => restarted(),
            answers = docker.takes_calls() => match answers {
                Ok(()) => outcome,
                Err(cause) => Err(JobError::docker_restarted(cause)),
            },
        }
    }

    pub async fn log(&self, stream: &str, level: LogLevel, message: &str) -> Result<(), JobError> {
        self.logs(stream, &[(level, message.to_owned())]).await
    }

    pub async fn logs(&self, stream: &str, lines: &[(LogLevel, String)]) -> Result<(), JobError> {
        let mut conn = self.shop.pool.acquire().await?;
        Ok(queue::append_logs(&mut conn, self.claim, stream, lines).await?)
    }

    pub async fn event(&self, kind: &str, payload: serde_json::Value) -> Result<(), JobError> {
        let mut conn = self.shop.pool.acquire().await?;
        Ok(queue::append_event(&mut conn, self.claim, kind, payload).await?)
    }
}
