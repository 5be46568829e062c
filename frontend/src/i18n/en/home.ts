export const home = {
  signIn: {
    title: "Sign in",
    lead: "Finetune a language model in the browser, watch it learn, and talk with the result.",
    username: "Name or e-mail",
    password: "Password",
    submit: "Sign in",
    usernameNeeded: "Write your name or e-mail.",
    passwordNeeded: "Write your password.",
    linkTitle: "No password yet?",
    linkText:
      "Ask your operator for a one-time sign-in link: it signs you in once, and you choose a password in your profile. " +
      "On a studio of your own, the link is printed where it was started.",
  },
  hello: (name: string) => `Welcome back, ${name}`,
  lead: "The furnace, seen through a small window.",
  launch: "Launch a finetune",
  live: "Live now",
  liveBurn: (points: string) => `Together ${points} points per hour.`,
  nothingLive: "Nothing is running.",
  nothingLiveText: "A finetune of the shipped model takes a few minutes.",
  ended: "Ended lately",
  nothingEnded: "What ends appears here, and why it ended.",
  balance: "Points",
  held: (points: string) => `${points} held for what is live`,
  runsOut: (when: string) => `They run out ${when} at this rate.`,
  steps: {
    title: "First steps",
    done: "Done",
    next: "Next",
    later: "Later",
    dataset: {
      title: "Bring a dataset",
      text: "Your conversations as JSONL, or take the one that is here.",
      go: "Datasets",
    },
    job: {
      title: "Launch a finetune",
      text: "Pick model, data and flavor. The cost is told before you pay.",
      go: "Launch",
    },
    adapter: {
      title: "Watch it learn",
      text: "The adapter appears among your models when the job ends.",
      go: "Jobs",
    },
    chat: {
      title: "Talk with the result",
      text: "Base and adapter side by side on one prompt.",
      go: "Chat",
    },
  },
};
