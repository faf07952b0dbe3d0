// The local API: its shapes (package node/api holds the originals), calls, and the live stream.

export type Reason = { code: string; words: string; detail?: string; remedy: string; retryMillis?: number };
export type Problem = { code: string; severity: "low" | "medium" | "high"; title: string; text: string; remedy: string; since: number };
export type Running = {
  lease: string; job: string; submitter: string; kinds: string[];
  state: "preparing" | "running" | "delivering"; done: number; total: number; since: number;
};
export type Term = { part: string; device?: string; weight: number; points: number; gives: number; partial?: string; ungraded?: string };
export type Grade = {
  score: number; band: number; class: string; terms: Term[]; penalties: { why: string; points: number }[]; ungraded?: string; at: number; running: boolean;
};
export type Pause = { cause: string; level: string; since: number; until: number; text: string; ends: string };
export type Owner = {
  state: "working" | "paused" | "killed"; since: number; level: "full" | "shrunk" | "drained" | "paused" | "killed"; words: string; reasons: Pause[];
  caps: {
    processors: number; memoryBytes: number; promisedBytes: number; vramBytes: number; ioPerSecond: number; downPerSecond: number; upPerSecond: number; share: number;
  };
  yield: { count: number; p50Millis: number; p99Millis: number; promiseMillis: number; histogram: { toMillis: number; count: number }[] };
  sensors: { name: string; known: boolean; value: number; unit: string; text: string }[];
  goal: { hours: number; done: number };
};
export type Setting = {
  key: string; value: string; default: string; set: boolean; doc: string; type: string; choices: string[]; range: string; live: boolean;
};
export type ConfigChange = { changed: Setting[]; restart: boolean; canUndo: boolean; canRedo: boolean; settings: Setting[] };
export type Status = {
  node: string; peer: string; network: string; version: string; platform: string; home: string;
  started: number; uptimeMillis: number; ready: boolean; addresses: string[]; reachability: string; region: string; peers: number;
  sandbox: { engine: string; grade: number; words: string };
  grade: Grade;
  owner: Owner;
  work: { slots: number; running: Running[]; sessions: number; done: number; accepted: number; outvoted: number; returned: number; why: Reason[] };
  meters: {
    cpuPercent: number; memoryBytes: number; inPerSecond: number; outPerSecond: number; inTotal: number; outTotal: number;
    diskUsedBytes: number; diskQuotaBytes: number; diskFreeBytes: number; diskTotalBytes: number; cores: number; memoryTotalBytes: number; vramTotalBytes: number;
  };
  health: Problem[];
};
export type Peer = {
  node: string; peer: string; address: string; direct: boolean; transport: string; inbound: boolean;
  rttMillis: number; region: string; agent: string; since: number; roles: string[];
};
export type Tally = { total: number; waiting: number; running: number; done: number; failed: number };
export type Job = {
  id: string; name: string; kinds: string[]; state: string; created: number; finished: number; sensitivity: string;
  k: number; n: number; tasks: Tally; inputBytes: number; inputFiles: number; progress: number; bytesPerSecond: number;
  etaMillis: number; result: string; resultBytes: number; reason?: Reason;
};
export type Contributions = {
  running: number; accepted: number; outvoted: number; forged: number; withheld: number; lapsed: number; returned: number;
  wallMillis: number; cpuMillis: number;
};
export type JobDetail = Job & {
  submitter: string; specRoot: string; input: string; partBytes: number;
  stages: { index: number; mode: string; steps: string[]; tasks: Tally }[];
  workers: ({ node: string } & Contributions)[]; log: string[]; totals: Contributions;
  moves: { count: number; sparedMillis: number; now: { stage: number; index: number; node: string; from: string[]; at: number; words: string }[] };
};
export type Explanation = {
  job: string; state: string; summary: string;
  reasons: (Reason & { tasks: number; examples: string[]; nodes: string[] })[];
};
export type Kind = { name: string; title: string; version: number; input: boolean; allowed: boolean; phases: string[]; schema: Record<string, unknown> };
export type Import = { path: string; files: number; bytes: number; totalBytes: number };
export type Submit = { name?: string; path: string; ops: { kind: string }[]; k: number; n: number; sensitivity: string };
export type CreditWith = {
  node: string; netMillis: number; didMillis: number; gotMillis: number; receipts: number; unsignedMillis: number; claims: number;
  earned: number; signed: number; last: boolean; silent: number; restUntil: number;
};
export type Credit = { balanceMillis: number; digest: string; with: CreditWith[]; void: Record<string, number>; asked: number; delivered: number };
export type TrustCase = { task: string; what: string; at: number; won: boolean; with: string[]; against: string[] };
export type Trust = {
  node: string; score: number; reliability: number; quota: number; standing: string; until: number; proof: string; words: string[]; cases: TrustCase[];
  counts: { accepted: number; outvoted: number; forged: number; withheld: number; lapsed: number; returned: number };
  skills: { what: string; agreed: number; passed: number; alone: boolean; oneIn: number }[];
};
export type Exported = { dir: string; files: number; bytes: number };

/** A refusal by the node, with what to do about it. */
export class Refused extends Error {
  constructor(message: string, readonly remedy: string, readonly status: number) {
    super(message);
  }
}

export async function call<T>(method: "GET" | "POST" | "PATCH", path: string, body?: unknown): Promise<T> {
  const answer = await fetch(`/api/v1/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  }).catch(() => {
    throw new Refused("The node does not answer.", "Is it still running? The page connects again by itself.", 0);
  });
  const text = await answer.text();
  if (!answer.ok) {
    let failure = { error: text || answer.statusText, remedy: "" };
    try {
      failure = JSON.parse(text);
    } catch {
      // Not our JSON: what the node said stands as it is.
    }
    throw new Refused(failure.error, failure.remedy, answer.status);
  }
  return JSON.parse(text) as T;
}

export type Live = { status?: Status; peers?: Peer[]; jobs?: Job[]; imports?: Import[] };

/** Follows the node. The browser connects again by itself after a gap; what was last known stays on the page. */
export function follow(onChange: (part: Live) => void, onConnection: (up: boolean) => void): () => void {
  let source: EventSource | undefined;
  let again: number | undefined;
  const open = () => {
    source = new EventSource("/api/v1/events");
    source.onopen = () => onConnection(true);
    source.onerror = () => {
      onConnection(false);
      // A refused stream is closed for good by the browser; a restarted node is worth another try.
      if (source?.readyState === EventSource.CLOSED) again = window.setTimeout(open, 2000);
    };
    for (const name of ["status", "peers", "jobs", "imports"] as const) {
      source.addEventListener(name, (e) => onChange({ [name]: JSON.parse((e as MessageEvent<string>).data) }));
    }
  };
  open();
  return () => {
    window.clearTimeout(again);
    source?.close();
  };
}
