import type { home as en } from "../en/home";

export const home: typeof en = {
  signIn: {
    title: "登录",
    lead: "在浏览器里微调语言模型，看着它学习，然后与它对话。",
    username: "用户名或邮箱",
    password: "密码",
    submit: "登录",
    usernameNeeded: "请填写用户名或邮箱。",
    passwordNeeded: "请填写密码。",
    linkTitle: "还没有密码？",
    linkText:
      "向运营人员要一个一次性登录链接：用它登录一次后，可以在个人资料里设置密码。" +
      "如果平台是您自己启动的，链接就在启动它的终端里。",
  },
  hello: (name) => `${name}，欢迎回来`,
  lead: "透过小窗，看一眼炉火。",
  launch: "发起微调",
  live: "进行中",
  liveBurn: (points) => `合计每小时 ${points} 算力点。`,
  nothingLive: "当前没有任务在运行。",
  nothingLiveText: "用自带的模型微调一次只要几分钟。",
  ended: "最近结束",
  nothingEnded: "结束的任务和结束的原因会出现在这里。",
  balance: "算力点",
  held: (points) => `其中 ${points} 已为进行中的任务冻结`,
  runsOut: (when) => `按当前速度，${when}用完。`,
  steps: {
    title: "入门四步",
    done: "已完成",
    next: "下一步",
    later: "待办",
    dataset: {
      title: "准备数据集",
      text: "上传自己的对话（JSONL），或直接使用自带的数据集。",
      go: "数据集",
    },
    job: { title: "发起微调", text: "选择模型、数据和规格，花费会提前告诉您。", go: "发起" },
    adapter: {
      title: "看着它学习",
      text: "任务结束后，适配器会出现在您的模型里。",
      go: "任务",
    },
    chat: { title: "与结果对话", text: "同一个问题，基座与适配器并排回答。", go: "对话" },
  },
};
