// One organization: its people, and the way to what they share.

import { App, Button, Form, Input, Select } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useParams } from "react-router";
import { post, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { OrganizationDetail, OrganizationMember } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";

const ROLES = ["member", "contributor", "admin"] as const;

export function OrganizationPage() {
  const { name = "" } = useParams();
  return (
    <div className="page">
      <Loaded query={useQuery(queries.organization(name))} skeleton={<PageSkeleton />}>
        {(organization) => <OrganizationView organization={organization} />}
      </Loaded>
    </div>
  );
}

function OrganizationView({ organization }: { organization: OrganizationDetail }) {
  const { text } = useWords();
  const words = text.organizations;
  const { modal } = App.useApp();
  const { run } = useAction();
  const { data: me } = useQuery(queries.me());
  const cache = useQueryClient();
  const navigate = useNavigate();
  const address = `/api/organizations/${organization.name}/`;
  const runs = organization.my_role === "admin" || me?.role === "administrator";
  const refresh = () => cache.invalidateQueries({ queryKey: ["organizations"] });

  const setRole = (username: string, role: string) =>
    run(async () => {
      await post(`${address}members/`, { username, role });
      await refresh();
    });
  const letGo = (username: string) =>
    modal.confirm({
      title: words.removeMember(username),
      content: words.removeText,
      okText: words.removeOk,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(`${address}members/${username}/`);
          await refresh();
          if (username === me?.username) await navigate("/organizations");
        }),
    });
  const drop = () =>
    modal.confirm({
      title: words.dropTitle(organization.name),
      content: words.dropText,
      okText: words.drop,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(address);
          await refresh();
          await navigate("/organizations");
        }),
    });

  return (
    <>
      <PageHead
        title={organization.display_name || organization.name}
        lead={organization.about || words.roleHelp}
        actions={
          <>
            <LinkButton to={`/models?search=${organization.name}/`}>{words.repos}</LinkButton>
            {runs && (
              <Button danger onClick={drop}>
                {words.drop}
              </Button>
            )}
          </>
        }
      />
      {runs && <AddMember onAdd={setRole} />}
      <div className="panel flush">
        <DataTable<OrganizationMember>
          rowKey="username"
          dataSource={organization.members}
          pagination={{ pageSize: 50, hideOnSinglePage: true }}
          columns={[
            {
              title: words.person,
              key: "person",
              render: (_, member) => (
                <>
                  {member.display_name || member.username}{" "}
                  <span className="muted">{member.display_name && member.username}</span>
                </>
              ),
            },
            {
              title: words.roleName,
              key: "role",
              render: (_, member) =>
                runs ? (
                  <RoleSelect
                    label={`${words.roleName}: ${member.username}`}
                    value={member.role}
                    onChange={(role) => void setRole(member.username, role)}
                  />
                ) : (
                  words.role[member.role]
                ),
            },
            {
              title: words.joined,
              key: "joined",
              responsive: ["md"],
              render: (_, member) => <RelativeTime iso={member.joined_at} />,
            },
            {
              key: "verbs",
              align: "right",
              render: (_, member) =>
                (runs || member.username === me?.username) && (
                  <Button size="small" onClick={() => letGo(member.username)}>
                    {member.username === me?.username ? words.leave : words.removeOk}
                  </Button>
                ),
            },
          ]}
        />
      </div>
    </>
  );
}

function AddMember({ onAdd }: { onAdd: (username: string, role: string) => Promise<boolean> }) {
  const { text } = useWords();
  const words = text.organizations;
  const [form] = Form.useForm<{ username: string; role: string }>();
  return (
    <Form
      form={form}
      layout="inline"
      className="filters"
      initialValues={{ role: "member" }}
      onFinish={async ({ username, role }) => {
        if (await onAdd(username.trim(), role)) form.resetFields();
      }}
    >
      <Form.Item name="username" rules={[{ required: true, message: words.usernameNeeded }]}>
        <Input aria-label={words.username} placeholder={words.username} autoComplete="off" />
      </Form.Item>
      <Form.Item name="role">
        <RoleSelect label={words.roleName} />
      </Form.Item>
      <Button type="primary" htmlType="submit">
        {words.add}
      </Button>
    </Form>
  );
}

function RoleSelect(props: { label: string; value?: string; onChange?: (role: string) => void }) {
  const { text } = useWords();
  return (
    <Select
      aria-label={props.label}
      value={props.value}
      onChange={props.onChange}
      style={{ minWidth: 130 }}
      options={ROLES.map((role) => ({ value: role, label: text.organizations.role[role] }))}
    />
  );
}
