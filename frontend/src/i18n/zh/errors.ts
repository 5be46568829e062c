// What the studio refuses beside what every page may meet, in Chinese, by its codes. Fetched behind the
// catalogue; English pages show the studio's own sentences.

import { n, type Params } from "../params";

export const errors: Record<string, (p: Params) => string> = {
  // people, organizations, tokens
  bad_username: () => "请使用字母和数字，中间可以用单个的点、下划线或连字符。",
  reserved: () => "这个名称由平台自己使用，请换一个。",
  wrong_password: () => "这不是你现在的密码。",
  disabled: () => "此用户已被停用，请先启用。",
  is_you: () => "不能停用自己，请另一位管理员来做。",
  last_administrator: () => "这是最后一位管理员，请先任命另一位。",
  last_admin: () => "这个组织将没有管理员，请先任命另一位成员。",
  not_admin: () => "只有这个组织的管理员可以这样做。",
  organization_has_repos: () => "这个组织还有仓库，请先移走或删除它们。",
  scope_missing: (p) => `这个令牌没有 ${n(p.scope)} 权限，请在个人资料页新建一个带此权限的令牌。`,
  scope_not_yours: () => "只有运营人员和管理员可以授予 admin 权限，请去掉它。",
  too_many: () => "数量已达上限，请先删除一个。",
  csrf_failed: () => "页面已过期，请重新加载。",
  // repos
  bad_name: () =>
    "请以字母或数字开头，只用字母、数字、点、下划线和连字符，不能有连续的点或连字符，也不要太长。",
  bad_repo_id: () => "请写成 所有者/名称。",
  bad_ref: () =>
    "分支和标签的名称只用字母、数字、点、下划线、连字符、加号，以及中间的斜杠；main 不能删除。",
  ref_taken: () => "已有同名的分支或标签，请换一个名称。",
  head_moved: () => "这个分支已有更新的提交，请重新加载后再试。",
  not_owner: () => "只有它的所有者可以这样做。",
  not_gated: () => "它是开放的，无需申请。",
  not_operator: () => "只有运营人员可以决定 /share 下放什么。",
  repo_not_open: (p) =>
    `节点上人人都能读 /share，而 ${n(p.name)} 并非人人可读，请先设为公开并取消门禁。`,
  bad_header: () => "这个权重文件的文件头无法读取。",
  no_tensors: () => "这个文件里没有张量，请选择 .safetensors 或 .gguf 文件。",
  file_unreadable: () => "这个文件不能作为表格显示，请下载后查看。",
  dataset_unreadable: () => "数据文件无法读取，请修正后重新上传。",
  // labelling
  bad_edit: () => "修改后的对话不能使用，请检查各轮的角色和内容。",
  bad_format: (p) => `不能保存为这种格式，请选择 ${n(p.known)} 之一。`,
  bad_label: () => "没有这个标签。",
  bad_labels: (p) => `请为片段填写 1 到 ${n(p.most)} 个标签。`,
  bad_span: (p) => `片段必须落在这 ${n(p.length)} 个字符之内，且起点在终点之前。`,
  bad_verdict: (p) => `只能选择 ${n(p.known)} 之一。`,
  label_in_use: (p) => `标签“${n(p.label)}”可能已在使用：可以添加标签，但不能去掉。`,
  no_text: () => "这一行没有可以标注的文字。",
  owner_stays: () => "所有者不能移除，如要结束标注，请关闭项目。",
  spans_missing: () => "没有收到片段，请重新加载页面后再试。",
  too_many_members: (p) => `一个项目最多 ${n(p.most)} 位标注者。`,
  too_many_spans: (p) => `一行最多 ${n(p.most)} 个片段。`,
  // jobs, nodes, machines, drive
  no_checkpoint: () => "这个任务没有留下检查点，请从头重试。",
  not_ended: () => "这个任务还没有结束，请先停止它。",
  path_not_offered: (p) => `${n(p.ref)} 是路径，而节点上没有你的文件，请填写仓库的名称。`,
  bad_grace: () => "请填写 0 秒到上限之间的宽限时间。",
  no_node_fits: () => "没有节点能容纳这个规格，请另选一个。",
  no_studio_port: () => "平台留给开发机的端口都在使用中，请十分钟后再试。",
  etag_missing: () => "没有说明所读的版本，请重新打开文件。",
  wrong_offset: () => "上传的位置与平台不一致，将从平台已有之处继续。",
  bad_key: () => "请求缺少有效的 Idempotency-Key，请重新加载页面后再试。",
  unknown_field: () => "有不认识的字段，请重新加载页面后再试。",
  // models that answer
  deadline_passed: (p) => `还没有问到 ${n(p.model)} 的服务，等待时间就到了，请等久一些。`,
  deployment_failed: (p) => `${n(p.model)} 未能启动服务，原因见它的日志。`,
  model_not_allowed: (p) => `这个密钥不能使用 ${n(p.model)}。`,
  no_previous: () => "它只用过一个版本，没有可以回到的版本。",
  points_used_up: () => "算力点已用尽，请向运营人员申请发放。",
  internal: () => "平台在生成回答时出错，请重试。",
};
