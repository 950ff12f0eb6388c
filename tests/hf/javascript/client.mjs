/* One round trip with the JavaScript client: make, upload, read, change, delete. Prints what it found as JSON; it knows nothing of Medley. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import * as hub from "@huggingface/hub";

const [folder, repo, large, hidden] = process.argv.slice(2);
const { HF_ENDPOINT: hubUrl, HF_TOKEN: token, READ_TOKEN: reader } = process.env;
const with_ = { hubUrl, accessToken: `hf_${token}` };
const found = {};

const bytes = name => readFileSync(`${folder}/${name}`);
const file = (path, content = bytes(path)) => ({ path, content: new Blob([content]) });
const sha256 = data => createHash("sha256").update(data).digest("hex");
const pulled = async (path, more = {}) => new Uint8Array(await (await hub.downloadFile({ ...with_, repo, path, xet: false, ...more })).arrayBuffer());
const all = async listing => { const some = []; for await (const one of listing) some.push(one); return some; };
const refused = async call => {
  try { await call(); } catch (error) { return [error.constructor.name, error.statusCode ?? 0, error.message.split(". URL:")[0]]; }
  return "nothing";
};

found.whoami = (await hub.whoAmI(with_)).name;
found.created = (await hub.createRepo({ ...with_, repo, visibility: "private" })).repoUrl;
found.again = await refused(() => hub.createRepo({ ...with_, repo }));

/* small files inside the commit, weights as one LFS object */
const first = await hub.uploadFiles({ ...with_, repo, commitTitle: "Upload", files: ["adapter_config.json", "adapter_model.safetensors", "README.md"].map(name => file(name)) });
found.first = first.commit;
found.same = (await hub.uploadFiles({ ...with_, repo, files: ["adapter_config.json", "adapter_model.safetensors"].map(name => file(name)) })).commit.oid === first.commit.oid;

/* a file in parts, with progress */
const steps = hub.uploadFilesWithProgress({ ...with_, repo, commitTitle: "Large", files: [file(large)], useWebWorkers: true });
found.phases = [];
found.states = {};
let step;
while (!(step = await steps.next()).done) {
  const { event, phase, state, progress } = step.value;
  if (event === "phase") found.phases.push(phase);
  else found.states[state] = Math.max(found.states[state] ?? 0, progress);
}
found.second = step.value.commit.oid;
found.sums = Object.fromEntries(await Promise.all(["adapter_config.json", "adapter_model.safetensors", "README.md", large].map(async name => [name, sha256(await pulled(name)) === sha256(bytes(name))])));

/* reading */
const blob = await hub.downloadFile({ ...with_, repo, path: large, xet: false });
found.range = sha256(new Uint8Array(await blob.slice(1_000_003, 2_000_005).arrayBuffer())) === sha256(bytes(large).subarray(1_000_003, 2_000_005));
found.old = await hub.fileExists({ ...with_, repo, path: large, revision: first.commit.oid });
found.exists = [await hub.fileExists({ ...with_, repo, path: large }), await hub.fileExists({ ...with_, repo, path: "none.txt" })];
found.missing = await hub.downloadFile({ ...with_, repo, path: "none.txt", xet: false });
found.files = (await all(hub.listFiles({ ...with_, repo, recursive: true }))).map(f => [f.type, f.path, f.size, f.lfs?.oid ?? null]);
const info = await hub.modelInfo({ ...with_, name: repo, additionalFields: ["author", "cardData", "tags", "sha", "safetensors", "filePaths"] });
found.info = { ...info, updatedAt: info.updatedAt > new Date(0) };
found.listed = {};
for (const [name, search] of Object.entries({ query: { query: repo.split("/")[1] }, owner: { owner: "owner", query: repo.split("/")[1] }, tags: { tags: ["lora", "license:mit"], query: repo.split("/")[1] }, none: { owner: "stranger", query: repo.split("/")[1] } })) {
  found.listed[name] = (await all(hub.listModels({ ...with_, search }))).map(model => model.name);
}
found.limited = (await all(hub.listModels({ ...with_, limit: 1, sort: "lastModified", additionalFields: ["author", "tags"] }))).length;
const header = await hub.parseSafetensorsMetadata({ ...with_, repo, path: "adapter_model.safetensors", computeParametersCount: true });
found.tensors = [Object.keys(header.header).filter(name => name !== "__metadata__").length, header.parameterCount];
found.commits = (await all(hub.listCommits({ ...with_, repo }))).map(commit => commit.title);
found.count = await hub.countCommits({ ...with_, repo });
found.paths = (await hub.pathsInfo({ ...with_, repo, paths: [large, "none.txt"] })).map(entry => entry.path);
found.download = (await hub.fileDownloadInfo({ ...with_, repo, path: large })).size;

/* a repository that begins with files, one of them empty */
const begun = `${repo}-begun`;
await hub.createRepo({ ...with_, repo: begun, license: "mit", files: [{ path: "empty.txt", content: new Blob([""]) }] });
found.begun = [(await hub.modelInfo({ ...with_, name: begun, additionalFields: ["cardData"] })).cardData, (await all(hub.listFiles({ ...with_, repo: begun }))).map(f => [f.path, f.size])];
found.empty = await (await hub.downloadFile({ ...with_, repo: begun, path: "empty.txt", xet: false })).text();
found.snapshot = readdirSync(await hub.snapshotDownload({ ...with_, repo: begun, cacheDir: `${folder}/cache` })).sort();
await hub.deleteRepo({ ...with_, repo: begun });

/* changes */
await hub.createBranch({ ...with_, repo, branch: "dev" });
await hub.uploadFile({ ...with_, repo, branch: "dev", file: { path: "notes.txt", content: new Blob(["notes"]) } });
found.branch = [await hub.fileExists({ ...with_, repo, path: "notes.txt", revision: "dev" }), await hub.fileExists({ ...with_, repo, path: "notes.txt" })];
await hub.deleteBranch({ ...with_, repo, branch: "dev" });
const tidy = { ...with_, repo, title: "Tidy up", operations: [{ operation: "delete", path: large }, { operation: "addOrUpdate", path: "notes.txt", content: new Blob(["notes"]) }] };
await hub.commit({ ...tidy, parentCommit: found.second });
found.left = (await all(hub.listFiles({ ...with_, repo }))).map(f => f.path);
await hub.deleteFile({ ...with_, repo, path: "notes.txt" });

/* errors */
const foreign = { hubUrl, repo: { type: "model", name: hidden } };
found.refused = {
  "stale parent": await refused(() => hub.commit({ ...tidy, operations: tidy.operations.slice(1), parentCommit: first.commit.oid })),
  pickle: await refused(() => hub.uploadFile({ ...with_, repo, file: { path: "adapter_model.bin", content: new Blob(["x"]) } })),
  "hidden from nobody": await refused(() => hub.modelInfo({ hubUrl, name: hidden })),
  "hidden from the owner": await refused(() => hub.modelInfo({ ...with_, name: hidden })),
  "no token": await refused(() => hub.uploadFile({ ...foreign, file: { path: "a.txt", content: new Blob(["a"]) } })),
  "bad token": await refused(() => hub.whoAmI({ hubUrl, accessToken: "hf_nonsense" })),
  "read token": await refused(() => hub.uploadFile({ hubUrl, accessToken: `hf_${reader}`, repo, file: { path: "a.txt", content: new Blob(["a"]) } })),
  "bare token": (await refused(() => hub.whoAmI({ hubUrl, accessToken: token }))).slice(0, 2),
};
await hub.deleteRepo({ ...with_, repo });
found.gone = [await hub.repoExists({ ...with_, repo }), await refused(() => hub.deleteRepo({ ...with_, repo }))];
console.log(JSON.stringify(found));
