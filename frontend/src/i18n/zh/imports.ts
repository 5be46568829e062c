// 导入：从其他站点或自己的云盘引入仓库。

import type { Params } from "../params";
import { n } from "../params";

export const imports = {
  title: "导入",
  lead: "从其他模型站、GGUF 文件地址或自己的云盘引入模型和数据集。切换到别的页面时导入会继续进行。",
  begin: "导入",
  formTitle: "新建导入",
  from: "来源",
  sourceNeeded: "请填写来源。",
  examples: "例如",
  example: {
    hf: "Hugging Face 仓库",
    other: "其他兼容站点",
    modelscope: "魔搭 ModelScope",
    drive: "我的云盘文件夹",
    gguf: "GGUF 文件",
  },
  kind: "类型",
  model: "模型",
  dataset: "数据集",
  into: "归属",
  me: (name: string) => `${name}（我）`,
  name: "在本平台的名称",
  nameHelp: "如果已有同名仓库，会为它新增一个版本。",
  nameNeeded: "请填写名称。",
  nameBad: "以字母或数字开头，其后可用字母、数字、“.”、“_”、“-”。",
  visibility: "谁能看到",
  token: "来源的访问令牌",
  tokenHelp: "来源需要时才填。令牌加密保存，导入结束后立即删除。",
  begun: "导入已开始。",
  list: "我的导入",
  empty: "还没有导入过",
  emptyText: "填写表单后，可以在这里查看进度。",
  state: {
    waiting: "排队中",
    fetching: "下载中",
    storing: "入库中",
    done: "已完成",
    failed: "失败",
    cancelled: "已取消",
  },
  ending: "正在结束",
  looking: "正在查看来源内容",
  bytes: (done: string, total: string) => `${done} / ${total}`,
  files: (done: string, total: string) => `${done} / ${total} 个文件`,
  speed: (bytes: string) => `每秒 ${bytes}`,
  progressOf: (name: string) => `${name} 的进度`,
  cancel: "取消",
  cancelOf: (name: string) => `取消导入 ${name}`,
  retry: "重试",
  retryOf: (name: string) => `重新导入 ${name}`,
  retryHelp: "已下载的内容保留一周，重试时接着下载。",
  retryToken: "访问令牌（需要时填写）",
  open: "打开",
  openOf: (name: string) => `打开 ${name}`,
  more: (shown: string, all: string) => `共 ${all} 次，显示最近 ${shown} 次`,
};

const NO_GGUF: Record<string, string> = {
  "it does not begin with the letters GGUF": "开头不是 GGUF 标记",
  "it ends within its header": "文件头不完整",
  "its header does not end": "文件头过长",
  "its header names no architecture": "文件头没有写明架构",
};

const MENDS: Record<string, string> = {
  401: "请填写访问令牌。",
  403: "请先在来源站点申请访问，再填写令牌。",
  404: "请检查名称是否正确。",
};

export const importErrors: Record<string, (p: Params) => string> = {
  bad_source: () =>
    "无法识别这个来源。请填写 hf://所有者/名称、modelscope://所有者/名称、drive:///文件夹 或 .gguf 文件的地址。",
  address_refused: (p) =>
    `${n(p.host)} 不是公网地址，导入只能访问公网。如需使用，请联系运维人员放行。`,
  gguf_is_model: () => "GGUF 文件是模型，请选择“模型”。",
  no_gguf: (p) => `这不是有效的 GGUF 文件：${NO_GGUF[n(p.why)] ?? "文件头已损坏"}。`,
  source_empty: () => "来源里没有文件。",
  source_fault: (p) => `无法从来源读取，请稍后重试。详情：${n(p.message)}`,
  source_refused: (p) =>
    `${n(p.host)} 返回 ${n(p.status)}。${MENDS[n(p.status)] ?? "请稍后重试。"}`,
  too_many_files: (p) => `文件太多，一个仓库最多 ${n(p.most)} 个文件。`,
  disk_full: () => "平台的磁盘空间不足，请联系运维人员。",
  import_runs: (p) => `${n(p.repo)} 正在导入，请等它结束或先取消。`,
  import_not_ended: () => "只有失败或已取消的导入才能重试。",
  internal_error: () => "平台内部错误，详情见运维日志。",
};
