/* Checks files in the browser before a byte is sent, and says what was understood of them. The hub checks again and has the last word. */
import { size } from "./dom.js";

const HEADER_LIMIT = 25e6;
const PLAIN = /^base_model\.model\..*\.lora_([AB])\.weight$/;
const BROKEN = "This is not a sound safetensors file: it is cut off, or something else. Save it again.";
const WIDTH = { F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1, F8_E4M3: 1, F8_E5M2: 1 };
const NAMES = { F32: "float32", F16: "float16", BF16: "bfloat16", F64: "float64" };

function refusal(path, rules) {
  const suffix = (path.match(/[^/.][^/]*(\.[^./]+)$/) || ["", ""])[1].toLowerCase();
  if (rules.pickles.includes(suffix)) return "Not accepted: files of this kind can be Python pickles, and opening one can run code. Save the weights as safetensors.";
  if (rules.archives.includes(suffix)) return "Not accepted: archives are not unpacked. Send the files themselves.";
  if (rules.programs.includes(suffix)) return "Not accepted: programs and pages that can run code are not hosted.";
  if (rules.others.includes(suffix)) return "Not accepted: weights must be safetensors, as PEFT writes them.";
  return "";
}

export async function check(item, rules) {
  if (item.notes.length || item.problem) return;
  item.problem = refusal(item.path, rules);
  if (item.problem) return;
  item.warnings = [];
  try {
    if (item.path === rules.config) await checkConfig(item);
    else if (item.path.endsWith(".safetensors")) await checkWeights(item, rules);
    else if (item.path === rules.card && item.file.size < 1e6) item.text = await item.file.text();
  } catch {
    item.problem = "The browser could not read this file. Choose it once more.";
  }
}

async function checkConfig(item) {
  let config;
  item.text = await item.file.slice(0, 1e6).text();
  try { config = JSON.parse(item.text); } catch { item.problem = "This is not valid JSON."; return; }
  if (!config || typeof config !== "object" || !config.peft_type) { item.problem = "This is not the config of a PEFT adapter: it names no peft_type."; return; }
  item.config = config;
  item.notes.push(`PEFT ${config.peft_type}`);
  if (config.r) item.notes.push(`rank ${config.r}`);
  if (config.base_model_name_or_path) item.notes.push(`for ${config.base_model_name_or_path}`);
  else item.warnings.push("It names no base model (base_model_name_or_path). Without it nobody knows what the adapter goes on, and it cannot be mixed.");
  if (config.peft_type !== "LORA") return;
  if (!config.r) item.warnings.push("It names no rank (r). PEFT writes it: save the adapter again with save_pretrained.");
  if (!config.target_modules && !config.target_parameters) item.warnings.push("It names no target modules, so PEFT may not know which layers to change.");
}

async function checkWeights(item, rules) {
  const { file } = item;
  if (file.size > rules.maxWeights) { item.problem = `This file has ${size(file.size)}; at most ${size(rules.maxWeights)} are taken.`; return; }
  if (file.size < 10) { item.problem = BROKEN; return; }
  const start = new DataView(await file.slice(0, 8).arrayBuffer());
  const length = Number(start.getBigUint64(0, true));
  if (length > file.size - 8) { item.problem = start.getUint8(0) === 0x80 ? "This is a Python pickle under another name, and opening one can run code. Save the weights as safetensors." : BROKEN; return; }
  if (length > HEADER_LIMIT) return;
  let header;
  try { header = JSON.parse(await file.slice(8, 8 + length).text()); } catch { item.problem = BROKEN; return; }
  const tensors = Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, tensor]) => ({ name, ...tensor }));
  const odd = tensors.find(tensor => !isSound(tensor));
  if (odd) { item.problem = `The header is damaged: the tensor ${odd.name} has not the size that its shape says. Save the file again.`; return; }
  if (8 + length + Math.max(0, ...tensors.map(tensor => tensor.data_offsets[1])) !== file.size) { item.problem = BROKEN; return; }
  item.tensors = tensors;
  item.notes.push("header is sound", `${tensors.length} tensor${tensors.length === 1 ? "" : "s"}`);
}

function isSound({ dtype, shape, data_offsets: offsets }) {
  if (!Array.isArray(shape) || !Array.isArray(offsets)) return false;
  return !(dtype in WIDTH) || offsets[1] - offsets[0] === count(shape) * WIDTH[dtype];
}

function count(shape) { return shape.reduce((product, side) => product * side, 1); }

/* What keeps a choice of files from being an adapter. */
export function missing(chosen, rules) {
  const names = chosen.map(f => f.path);
  const has = path => names.includes(path);
  if (has(rules.weights) && !has(rules.config)) return `${rules.config} is missing. PEFT writes it beside the weights; add it.`;
  if (!has(rules.weights) && has(rules.config)) {
    const pickled = names.find(name => rules.pickles.some(suffix => name.endsWith(suffix)));
    return `${rules.weights} is missing. ${pickled ? `${pickled} is a pickle file: save the weights again with safe_serialization=True.` : "PEFT writes it beside the config; add it."}`;
  }
  const whole = has("config.json") && names.some(name => /^model.*\.safetensors$/.test(name)) && !has(rules.config);
  return whole && !rules.mayHost ? "This is a whole model, not an adapter. Save the adapter alone: model.save_pretrained(folder) of a PEFT model writes it." : "";
}

/* What the files say, as pairs of a name and a value, and what their owner should know of it. */
export function understood(chosen, rules) {
  const config = chosen.find(f => f.path === rules.config && !f.problem)?.config;
  const weights = chosen.find(f => f.path === rules.weights && !f.problem && f.tensors);
  const facts = config ? ofConfig(config) : [];
  if (weights) {
    const kinds = [...new Set(weights.tensors.map(tensor => tensor.dtype))];
    const values = weights.tensors.reduce((sum, tensor) => sum + count(tensor.shape), 0);
    facts.push(["Parameters", values.toLocaleString("en")], ["Stored as", kinds.length === 1 ? NAMES[kinds[0]] ?? kinds[0] : "mixed"], ["Weights", size(weights.file.size)]);
  }
  return { facts, notes: config && weights ? doubts(config, weights.tensors) : [] };
}

function ofConfig(config) {
  const kind = config.peft_type === "LORA" ? `LoRA${config.use_dora ? ", DoRA" : ""}${config.use_rslora ? ", rsLoRA" : ""}` : String(config.peft_type);
  const facts = [["Base model", String(config.base_model_name_or_path || "not named")], ["Kind", kind]];
  if (config.r) facts.push(["Rank", String(config.r)]);
  if (config.lora_alpha) facts.push(["Alpha", String(config.lora_alpha)]);
  const targets = config.target_modules;
  if (targets) facts.push(["Targets", Array.isArray(targets) ? [...new Set(targets.map(name => String(name).split(".").at(-1)))].sort().join(", ") : String(targets)]);
  return facts;
}

function doubts(config, tensors) {
  if (config.peft_type !== "LORA") return [`Adapters of the kind ${config.peft_type} are hosted, and cannot be mixed with others.`];
  const found = config.use_dora ? ["DoRA adapters are hosted, and cannot be mixed with others."] : [];
  const factors = tensors.filter(tensor => PLAIN.test(tensor.name));
  if (!factors.length) found.push("There are no LoRA factors (lora_A, lora_B) among the tensors: this may not be a LoRA.");
  const ranks = new Set(factors.filter(tensor => PLAIN.exec(tensor.name)[1] === "A").map(tensor => tensor.shape[0]));
  if (config.r && ranks.size && !ranks.has(config.r) && !Object.keys(config.rank_pattern || {}).length) found.push(`The config says rank ${config.r}, and the tensors have ${[...ranks].join(", ")}: they are not of one training. The hub refuses such a pair.`);
  return found;
}
