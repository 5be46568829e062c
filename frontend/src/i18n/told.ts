// The studio's, its nodes' and its engines' sentences in Chinese, by the codes of the three tables of sentences.
// English pages show the sentence as it came. Not in the catalogue, which every first screen fetches.

import type { Language, Told } from "../api/shapes";
import type { Params } from "./params";
import { refusals } from "./zh/refusals";

type Names = Record<string, string>;
type Words = (names: Names) => string;

const MORE_MEMORY = "请减小 micro_batch_tokens 或 max_length，或选择内存更大的规格。";
const HOME_KEPT = "您的主目录会保留。";

const MACHINE = {
  copy_is_made: () => "正在制作所需的副本，完成后立即启动。",
  copy_failed: ({ problem }) => `未能制作副本：${problem}`,
  node_aside_reset: ({ node }) =>
    `管理员已停止向其节点 ${node} 调度，恢复后开发机会启动。停止并重置后可在其他节点上重新开始，${HOME_KEPT}`,
  node_aside_change: ({ node }) =>
    `管理员已停止向其节点 ${node} 调度，恢复后开发机会启动。停止并更换镜像后可在其他节点上重新开始，${HOME_KEPT}`,
  node_away: ({ node }) => `其节点 ${node} 没有应答，恢复后开发机会启动。`,
  machine_all_aside: () => "管理员已停止向所有节点调度，开发机正在等待。",
  machine_no_engine: () => "没有在线且带 Docker 引擎的节点，一旦有了就会启动。",
  machine_none_holds: ({ flavor }) => `目前没有节点能容纳 ${flavor}，开发机正在等待。`,
  machine_all_busy: () => "所有节点都在忙，开发机正在排队。",
  machine_node_lost: () =>
    `其节点已两分钟没有应答，只收取有应答时间的费用。节点恢复后可再启动，或重置后在其他节点上重新开始，${HOME_KEPT}`,
  machine_not_started: () => "节点未能在 15 分钟内启动它，请再次启动。",
  machine_waited_too_long: ({ days }) =>
    `${days} 天之内没有节点能容纳它：请换一个规格再启动，或联系运营人员。`,
  machine_node_silent: () => "其节点目前没有应答，这段时间不计费。",
  machine_drained: ({ node }) =>
    `管理员正在排空其节点 ${node}。文件会保留：节点恢复后可再启动，或重置后在其他节点上重新开始。`,
  machine_drained_why: ({ node, why }) =>
    `管理员正在排空其节点 ${node}（${why}）。文件会保留：节点恢复后可再启动，或重置后在其他节点上重新开始。`,
  machine_node_removed: ({ node }) => `其节点 ${node} 已被移除，将从镜像重新开始，${HOME_KEPT}`,
  machine_image_removed: ({ node }) =>
    `其节点 ${node} 已被移除，镜像也随之丢失，请为它换一个镜像。`,
  machine_out_of_memory: () => "其中的程序用尽了规格的内存，请选择更大的规格。",
  machine_ended: () => "它自行结束，或其节点已重启，请再次启动。",
  machine_container_gone: () => `它的容器已在节点上被删除，再次启动将从镜像重新开始，${HOME_KEPT}`,
  machine_idle: ({ since }) =>
    `自 ${since}（UTC）起没有连接，内核、终端、处理器、GPU 与后台运行均不忙。文件已保留。`,
  saving_silent: () => "节点没有说明制成了哪个镜像。",
  saving_node_removed: ({ node }) => `其节点 ${node} 已被移除。`,
  saving_too_long: () => "节点未能在一小时内保存，请再次保存。",
  saving_image_deleted: () => "镜像在保存完成之前被删除。",
  saving_machine_deleted: () => "开发机在保存完成之前被删除。",
} satisfies Record<string, Words>;

// Not a message but a line of the statement.
const NOTE = {
  machine_note: ({ name }) => `开发机 ${name}`,
  model_use: () => "调用模型",
} satisfies Record<string, Words>;

const ROLLOUT = {
  rollout_begun: () => "新版本正在旁边启动。",
  rollout_back: () => "运营人员回到了这个版本。",
  rollout_not_started: () => "它的服务没有启动。",
  rollout_refused: ({ problem }) => `新版本未被采用：${problem}`,
  gate_unwell: () => "它的服务报告自身状态不正常。",
  gate_silent: () => "试问时它的服务没有应答。",
  gate_refused: ({ prompt, said }) => `它的服务拒绝了试问“${prompt}”：${said}`,
  gate_empty: ({ prompt }) => `它的服务对试问“${prompt}”没有给出内容。`,
} satisfies Record<string, Words>;

const QUOTA = {
  quota_not_btrfs: () => "磁盘不是 btrfs。",
  quota_btrfs_tools: () => "磁盘是 btrfs，但使用它的配额需要 root 和 btrfs-progs。",
  quota_btrfs_off: ({ words }) => `磁盘是 btrfs，但无法启用它的配额（${words}）。`,
  quota_not_project: () => "磁盘不是 ext4 或 XFS。",
  quota_project_off: ({ kind, point }) => `磁盘是 ${kind}，但 ${point} 挂载时没有 prjquota 选项。`,
  quota_project_tools: ({ kind, tools }) =>
    `磁盘是带项目配额的 ${kind}，但使用配额需要 root 和 ${tools}。`,
} satisfies Record<string, Words>;

const NODE = {
  no_node: () => "没有在线的节点。",
  no_engine: () =>
    "没有节点带有应答的 Docker 引擎，因此还不能运行开发机：请在节点上安装，例如 `sudo apt install docker.io`。",
  engine_away: () =>
    "节点上没有应答的 Docker 引擎：请用 `sudo apt install docker.io` 安装，或用 `sudo systemctl start docker` 启动。",
  engine_says: ({ words }) => `Docker 引擎的回答：${words}`,
  engine_not_looked_at: () => "节点尚未检查它的 Docker 引擎。",
  no_user_namespaces: () =>
    "Docker 引擎没有启用用户命名空间，开发机的 root 会成为节点的 root：请在其 daemon.json 中设置 `userns-remap` 并重启引擎。",
  image_not_pinned: ({ image }) => `镜像 ${image} 既没有摘要也没有 id。`,
  image_missing: ({ image }) => `该节点没有镜像 ${image}，请在那里构建或拉取。`,
  engine_image_missing: ({ image }) =>
    `该节点没有 ATHANOR_ENGINE_IMAGE 指定的镜像 ${image}，请在那里构建或拉取。`,
  engine_image_empty: ({ image }) =>
    `ATHANOR_ENGINE_IMAGE 指定的镜像 ${image} 不含引擎，构建时请不要带 \`--build-arg ENGINE=\`。`,
  engine_version_differs: ({ image, found, version }) =>
    `ATHANOR_ENGINE_IMAGE 指定的镜像 ${image} 中的引擎属于 Athanor ${found}，而该节点是 ${version}：每次升级后请重新构建。`,
  engine_version_unknown: ({ image }) =>
    `ATHANOR_ENGINE_IMAGE 指定的镜像 ${image} 没有说明其引擎属于哪个版本的 Athanor，应是较旧的版本：每次升级后请重新构建。`,
  drive_missing: ({ drive }) => `该节点上没有云盘 ${drive}。`,
  drive_of_another: ({ drive, owner, root }) =>
    `云盘 ${drive} 属于用户 ${owner}，而这里容器的 root 是 ${root}：请为平台设置 STUDIO_DRIVE_OWNER=${root}，并用 \`chown -R\` 把云盘改归它。`,
  drives_not_set: () => "未设置 ATHANOR_DRIVE_DIR：请填写平台存放云盘的目录。",
  machines_need_root: () => "开发机需要节点程序以 root 运行，由它设置网络与密钥。",
  machine_order_unread: ({ fields }) =>
    `该节点无法读取这台开发机的 ${fields}：节点与平台的软件版本不同，请让管理员把两者升级到同一版本。`,
  engines_need_root: () => "在容器中运行引擎需要节点程序以 root 运行，由它挂载目录。",
  studio_unknown: ({ host }) => `该节点无法解析平台的名称 ${host}。`,
  mount_failed: ({ source, target, words }) => `无法将 ${source} 挂载到 ${target}：${words}`,
  scratch_failed: ({ disk, words }) => `无法准备 /scratch 的磁盘 ${disk}：${words}`,
  command_failed: ({ command, words }) => `节点上的 \`${command}\` 失败：${words}`,
  nothing_to_save_there: () => "节点上没有它的容器，请先启动开发机。",
  save_disk_full: () => "节点的磁盘已满，没有保存任何内容，请联系运营人员腾出空间。",
} satisfies Record<string, Words>;

const RUN = {
  run_no_node: () => "没有在线的节点，一旦有了就会开始。",
  run_no_engine: () => "没有在线且带 Docker 引擎的节点，一旦有了就会开始。",
  run_no_able: () => "目前没有节点能运行这类任务，原因见“节点”页面（运营人员可见）。",
  run_all_aside: () => "管理员已停止向所有节点调度，运行正在等待。",
  run_none_holds: ({ flavor }) => `在线的节点都容纳不了 ${flavor}，运行正在等待。`,
  run_all_busy: () => "所有节点都在忙，运行正在排队。",
  run_node_silent: ({ node, minutes }) =>
    `节点 ${node} 已 ${minutes} 分钟没有消息。算力点已退还，请再次运行。`,
  run_not_started: ({ node }) => `节点 ${node} 领取了运行却没有启动。算力点已退还，请再次运行。`,
  run_refused: ({ node, fields }) =>
    `节点 ${node} 读不懂该任务的 ${fields}：节点与平台的软件版本不同。算力点已退还，请管理员统一版本后再次运行。`,
  run_not_taken: ({ node, minutes }) =>
    `向节点 ${node} 发送运行已 ${minutes} 分钟，它没有领取。算力点已退还，请再次运行，并告知管理员（原因见该节点的日志）。`,
  run_unreadable: ({ fields }) =>
    `平台已读不懂该任务的 ${fields}：它是升级之前启动的。算力点已退还，请重新启动任务。`,
  run_waited_too_long: ({ days }) =>
    `${days} 天之内没有节点可以接收它。算力点已退还，请换一个规格，或联系运营人员。`,
  run_node_removed: ({ node }) => `节点 ${node} 已被移除。算力点已退还，请再次运行。`,
  run_drained: ({ node }) => `管理员正在排空其节点 ${node}。`,
  run_drained_why: ({ node, why }) => `管理员正在排空其节点 ${node}（${why}）。`,
  stopped_by_owner: () => "由所有者停止。",
  stopped_by_operator: () => "由运营人员停止。",
  points_used_up: () => "算力点已用尽，请向运营人员申请发放。",
  stopped_by_studio: () => "由平台停止。",
  server_idle: () => "有一阵没有人使用。",
  run_over_memory: ({ used, limit }) =>
    `运行使用了 ${used} 内存，而上限是 ${limit}：${MORE_MEMORY}`,
  run_past_memory: ({ limit }) => `运行使用的内存超过了上限 ${limit}：${MORE_MEMORY}`,
  script_past_memory: ({ limit }) =>
    `脚本使用的内存超过了上限 ${limit}：请减少用量，或选择内存更大的规格。`,
  kernel_out_of_memory: () => `节点内存耗尽，内核结束了这次运行：${MORE_MEMORY}`,
  memory_ran_out: () => `内存耗尽：${MORE_MEMORY}`,
  engine_killed: () => "引擎被外部终止，请再次运行。",
  engine_signalled: ({ signal }) => `引擎被信号 ${signal} 结束，日志末尾可能有原因。`,
  engine_crashed: ({ status }) => `引擎以退出码 ${status} 结束，原因见日志末尾。`,
  script_crashed: ({ status }) => `脚本以退出码 ${status} 结束，日志末尾可能有原因。`,
  engine_failed: ({ error }) => `引擎因 ${error} 失败，位置见日志末尾。`,
  run_stopped: () => "运行已被停止。",
  time_limit: ({ minutes }) =>
    `已达到 ${minutes} 分钟的时限：请提高时限，或让脚本从已保存的内容继续。`,
  engine_took_run: () => "节点的 Docker 引擎停止，运行随之中断，请再次运行。",
  container_removed: () => "它的容器已在节点上被删除，请再次运行。",
  container_stopped: () => "它的容器在节点上被停止，请再次运行。",
  container_killed: () => "它的容器在节点上被终止，请再次运行。",
  node_restarted: () => "节点在运行期间重启，请再次运行。",
  recorder_killed: () => "节点上记录该运行的程序被终止，请再次运行。",
  engine_not_up: () => "引擎未能在节点上启动，请再次运行。",
  disk_full: () => "节点的磁盘已满：请联系运营人员，然后再次运行。",
  box_has_link: ({ folder }) => `${folder} 是链接，运行的目录中不应有链接。`,
  device_missing: ({ device }) => `该节点已没有 GPU ${device}，请再次运行。`,
  no_packet_filter: () =>
    "节点的网络过滤尚未就绪，脚本不能启动：请确认 `python -m workers machines` 正在运行。",
} satisfies Record<string, Words>;

// Typed by the API's own list: a sentence without words does not compile.
const CHINESE: Record<Told["code"], Words> = {
  ...MACHINE,
  ...NOTE,
  ...QUOTA,
  ...NODE,
  ...RUN,
  ...ROLLOUT,
  ...refusals,
};

/** A message of the API's in the page's language; as it came where its code has no words here. */
export function sayTold(language: Language, message: string, told: Told | null): string {
  const words = language === "zh" && told ? CHINESE[told.code] : undefined;
  if (!words || !told) return message;
  return words(sayNames(language, told.params) as Names);
}

/** What a message names: a sentence or a flavor's title among it in the page's language, all else as it came. */
export function sayNames(language: Language, params: Params): Params {
  const names = Object.entries(params).map(([name, value]) => [name, sayName(language, value)]);
  return Object.fromEntries(names) as Params;
}

const SHIPPED = /^(?:(\d+) % of a GPU, |(\d+) GPUs?, )?(\d+) CPU cores?, (\d+) GiB$/;

/** The title of a flavor in the page's language, where it is one that the studio comes with. */
export function sayFlavor(language: Language, title: string): string {
  const found = language === "zh" ? SHIPPED.exec(title) : null;
  if (!found) return title;
  const [, percent, gpus, cores, gib] = found;
  const gpu = percent ? `GPU 的 ${percent} %，` : gpus ? `${gpus} 块 GPU，` : "";
  return `${gpu}${cores} 核 CPU，${gib} GiB`;
}

function sayName(language: Language, value: unknown): unknown {
  if (typeof value === "string") return sayFlavor(language, value);
  if (typeof value !== "object" || value === null || !("told" in value)) return value;
  const { message, told } = value as { message: string; told: Told | null };
  return sayTold(language, message, told);
}
