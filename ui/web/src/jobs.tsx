// Jobs this node has submitted: progress, what they wait for, who did them, and their results.
import { useEffect, useState } from "preact/hooks";
import { call, type Explanation, type Exported, type Import, type Job, type JobDetail, type Reason } from "./api";
import { bytes, count, duration, percent, rate, short, time } from "./format";
import { Ask, Bar, Card, Id, Trouble, useCall } from "./parts";

// What a person can do; "" where waiting is all there is.
const remedy = (r: Reason) => (r.remedy.startsWith("nothing to do") ? "" : r.remedy);

const running = (j: Job) => j.finished === 0;

export function Jobs(props: { jobs?: Job[]; imports?: Import[] }) {
  const jobs = props.jobs ?? [];
  const imports = props.imports ?? [];
  return (
    <Card title="Jobs" id="jobs" aside={<span class="quiet">{count(jobs.filter(running).length, "job")} running</span>}>
      {imports.map((i) => (
        <div key={i.path} class="job">
          <div class="row"><b class="grow break">Reading {i.path}</b><span class="quiet">{count(i.files, "file")}, {bytes(i.bytes)}</span></div>
          <Bar value={i.totalBytes > 0 ? i.bytes / i.totalBytes : 0} label={`reading ${i.path}`} state="live" />
        </div>
      ))}
      {jobs.length === 0 && imports.length === 0 && <p class="empty">No jobs yet. Choose a folder below, and others do the work.</p>}
      {jobs.map((j) => <JobRow key={j.id} job={j} />)}
    </Card>
  );
}

function JobRow(props: { job: Job }) {
  const { job } = props;
  const [open, setOpen] = useState(false);
  const live = running(job);
  return (
    <article class={`job ${job.state}`} aria-label={`job ${job.name}`}>
      <div class="row">
        <button type="button" class="twist" aria-expanded={open} aria-label={open ? "less" : "more"} onClick={() => setOpen(!open)}>{open ? "▾" : "▸"}</button>
        <b class="grow break">{job.name}</b>
        <span class={`tag ${job.state}`}>{job.state}</span>
      </div>
      <Bar value={job.progress} label={`progress of ${job.name}`} state={job.state === "done" ? "done" : job.state === "failed" ? "bad" : live ? "live" : ""} />
      <p class="quiet row wrap">
        <span>{percent(job.progress)}</span>
        <span>{job.tasks.done.toLocaleString()} of {count(job.tasks.total, "task")}</span>
        {job.inputBytes > 0 && <span>{bytes(job.inputBytes)} in {count(job.inputFiles, "file")}</span>}
        {live && job.bytesPerSecond > 0 && <span>{rate(job.bytesPerSecond)}</span>}
        {live && job.etaMillis > 0 && <span>{duration(job.etaMillis)} left</span>}
        {!live && <span>{job.state} at {time(job.finished)} after {duration(job.finished - job.created)}</span>}
        <span>{job.k} of {job.n} must agree</span>
      </p>
      {job.reason && !(open && live) && <p class={job.state === "failed" ? "trouble" : "notice"}>{job.reason.words}{job.reason.detail ? `: ${job.reason.detail}` : ""}. <span class="remedy">{remedy(job.reason)}</span></p>}
      {open && <JobMore job={job} />}
    </article>
  );
}

function JobMore(props: { job: Job }) {
  const { job } = props;
  const [detail, setDetail] = useState<JobDetail>();
  const [why, setWhy] = useState<Explanation>();
  const [dir, setDir] = useState("");
  const [saved, setSaved] = useState<Exported>();
  const [asking, setAsking] = useState(false);
  const look = useCall();
  const act = useCall();

  // Looked up again whenever the live row moves.
  useEffect(() => {
    void look.run(async () => {
      setDetail(await call<JobDetail>("GET", `jobs/${job.id}`));
      setWhy(running(job) ? await call<Explanation>("GET", `jobs/${job.id}/explain`) : undefined);
    });
  }, [job.id, job.state, job.tasks.done, job.tasks.running]);

  return (
    <div class="more">
      <Trouble error={look.error} />
      {why && (
        <div class={why.reasons.some((r) => remedy(r) !== "") ? "notice" : "good"}>
          <p>{why.summary}</p>
          {why.reasons.map((r) => <p key={r.code + r.detail}>{count(r.tasks, "task")}: {r.words}{r.detail ? ` (${r.detail})` : ""}. <span class="remedy">{remedy(r)}</span></p>)}
        </div>
      )}
      {detail && (
        <>
          <div class="scroll">
            <table>
              <thead><tr><th>Stage</th><th>Steps</th><th class="num">Done</th><th class="num">Running</th><th class="num">Waiting</th></tr></thead>
              <tbody>
                {detail.stages.map((s) => (
                  <tr key={s.index}><td>{s.index + 1} {s.mode}</td><td>{s.steps.join(" → ")}</td><td class="num">{s.tasks.done} / {s.tasks.total}</td><td class="num">{s.tasks.running}</td><td class="num">{s.tasks.waiting}</td></tr>
                ))}
              </tbody>
            </table>
          </div>
          {detail.workers.length > 0 && (
            <div class="scroll">
              <table>
                <thead><tr><th>Worker</th><th class="num">Running</th><th class="num">Accepted</th><th class="num">Outvoted</th><th class="num">Forged</th><th class="num">Late</th><th class="num">Handed back</th><th class="num">CPU</th></tr></thead>
                <tbody>
                  {detail.workers.map((w) => (
                    <tr key={w.node} class={w.outvoted + w.forged > 0 ? "bad" : ""}>
                      <td><Id id={w.node} /></td><td class="num">{w.running}</td><td class="num">{w.accepted}</td><td class="num">{w.outvoted}</td><td class="num">{w.forged}</td>
                      <td class="num">{w.lapsed + w.withheld}</td><td class="num">{w.returned}</td><td class="num">{duration(w.cpuMillis)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          {detail.moves.count > 0 && (
            <p class="quiet">
              {count(detail.moves.count, "task")} went on at other nodes from where the first were ended
              {detail.moves.sparedMillis > 0 && <>; {duration(detail.moves.sparedMillis)} of computing were not done again</>}.
              {detail.moves.now.map((m) => <span key={m.words}> At present {m.words}.</span>)}
            </p>
          )}
          {detail.log.length > 0 && <pre class="log">{detail.log.join("\n")}</pre>}
          <p class="quiet break">job {short(job.id)}{job.result && <>, result {job.result} ({bytes(job.resultBytes)})</>}</p>
        </>
      )}
      <Trouble error={act.error} />
      {saved && <p class="good" role="status">{count(saved.files, "file")}, {bytes(saved.bytes)} written to {saved.dir}</p>}
      <div class="row wrap">
        {running(job) && <button type="button" class="danger" disabled={act.busy} onClick={() => setAsking(true)}>Cancel job</button>}
        {job.state === "done" && (
          <>
            <a class="button" href={`/api/v1/jobs/${job.id}/result`} download={`${job.name}.tar`}>Download</a>
            <form class="row grow" onSubmit={(e) => {
              e.preventDefault();
              void act.run(async () => setSaved(await call<Exported>("POST", `jobs/${job.id}/export`, { dir })));
            }}>
              <input class="grow" required placeholder="/folder/for/the/result" aria-label="folder for the result" value={dir} onInput={(e) => setDir(e.currentTarget.value)} />
              <button disabled={act.busy}>Save to folder</button>
            </form>
          </>
        )}
      </div>
      {asking && (
        <Ask title={`Cancel “${job.name}”?`} text="Work under way is stopped and thrown away. It cannot be taken up again." yes="Cancel job"
          onNo={() => setAsking(false)}
          onYes={() => {
            setAsking(false);
            void act.run(() => call("POST", `jobs/${job.id}/cancel`));
          }} />
      )}
    </div>
  );
}
