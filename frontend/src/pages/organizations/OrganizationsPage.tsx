// The organizations a person belongs to; operators make them.

import { Button, Card, Form, Input, Modal } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { ApiError, post } from "../../api/client";
import { queries } from "../../api/queries";
import type { OrganizationDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { useAction } from "../useAction";

export function OrganizationsPage() {
  const { text } = useWords();
  const words = text.organizations;
  const { data: me } = useQuery(queries.me());
  const [isCreating, setIsCreating] = useState(false);
  const mayCreate = me && me.role !== "member";
  return (
    <div className="page">
      <PageHead
        title={words.title}
        lead={words.lead}
        actions={
          mayCreate && (
            <Button type="primary" onClick={() => setIsCreating(true)}>
              {words.create}
            </Button>
          )
        }
      />
      <Loaded query={useQuery(queries.organizations())}>
        {(organizations) =>
          organizations.length === 0 ? (
            <EmptyState title={words.empty} text={words.emptyText} />
          ) : (
            <div className="cards">
              {organizations.map((each) => (
                <Link key={each.name} to={`/organizations/${each.name}`}>
                  <Card hoverable size="small" title={each.display_name || each.name}>
                    <div className="mono muted">{each.name}</div>
                    {each.about && <p>{each.about}</p>}
                    <div className="muted">
                      {[words.members(each.num_members), words.role[each.my_role]]
                        .filter(Boolean)
                        .join(" · ")}
                    </div>
                  </Card>
                </Link>
              ))}
            </div>
          )
        }
      </Loaded>
      <CreateDialog isOpen={isCreating} onClose={() => setIsCreating(false)} />
    </div>
  );
}

interface Values {
  name: string;
  display_name?: string;
  about?: string;
}

function CreateDialog({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const { text } = useWords();
  const words = text.organizations;
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const navigate = useNavigate();

  const create = async (values: Values) => {
    try {
      const made = await post<OrganizationDetail>("/api/organizations/", values);
      await cache.invalidateQueries({ queryKey: ["organizations"] });
      onClose();
      await navigate(`/organizations/${made.name}`);
    } catch (error) {
      if (error instanceof ApiError) {
        const marked = error.problems.filter((problem) => problem.field !== null);
        form.setFields(
          marked.map((problem) => ({
            name: problem.field as keyof Values,
            errors: [sayProblem(text, problem)],
          })),
        );
      }
      throw error;
    }
  };
  return (
    <Modal
      open={isOpen}
      title={words.create}
      okText={words.create}
      confirmLoading={isBusy}
      onOk={() => form.submit()}
      onCancel={onClose}
      afterOpenChange={(open) =>
        open ? form.getFieldInstance("name")?.focus() : form.resetFields()
      }
      forceRender
    >
      <Form<Values>
        form={form}
        layout="vertical"
        scrollToFirstError={{ focus: true }}
        onFinish={(values) => void run(() => create(values))}
      >
        <Form.Item
          name="name"
          label={words.name}
          extra={words.nameHelp}
          rules={[{ required: true, message: words.nameNeeded }]}
        >
          <Input autoComplete="off" maxLength={40} />
        </Form.Item>
        <Form.Item name="display_name" label={words.displayName}>
          <Input maxLength={80} />
        </Form.Item>
        <Form.Item name="about" label={words.about}>
          <Input.TextArea maxLength={500} rows={3} />
        </Form.Item>
      </Form>
    </Modal>
  );
}
